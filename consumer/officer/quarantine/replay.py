"""Opens quarantined messages (audited), and validates, masks and writes them again."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg
import click

from consumer.errors import TokenError
from consumer.events.model import EventModel, table_of
from consumer.events.transform import Transform
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.messages import Quarantined, Reason, Row
from consumer.officer.audit.store import Action, AuditEntry, record
from consumer.officer.quarantine.store import (
    ReplayWriter,
    SealedEntry,
    Selection,
    sealed_entries,
    update_reasons,
)
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.errors import translated
from consumer.postgres.inspect import table_kinds
from consumer.postgres.key_registry import compare_fingerprints, register_fingerprints

_Why = tuple[Reason, str | None]


def reason_text(reason: str, field_name: str | None) -> str:
    """The reason, and the field if the reason names one."""
    return f"{reason} ({field_name})" if field_name else reason


async def open_audited(
    connection: asyncpg.Connection,
    model: type[EventModel],
    ring: KeyRing,
    ids: Sequence[int],
    reason: str,
) -> AsyncIterator[tuple[SealedEntry, str]]:
    """The messages `ids` with their bodies; each is audited before it is yielded.

    Reports on standard error which ones cannot be opened or do not exist. Raises DatabaseError.
    """
    seal, missing, after = BodySeal(ring), set(ids), 0
    selection = Selection(ids=ids)
    while batch := await sealed_entries(connection, model.table, selection, after=after):
        after = batch[-1].id
        attempts = [(entry, _unsealed(seal, entry)) for entry in batch]
        await record(connection, [_show_entry(*attempt, reason) for attempt in attempts])
        for entry, body in attempts:
            missing.discard(entry.id)
            if isinstance(body, TokenError):
                click.echo(f"{entry.id}: {body}", err=True)
            else:
                yield entry, body
    for entry_id in sorted(missing):
        click.echo(f"{entry_id}: not in quarantine", err=True)


@dataclass(slots=True)
class ReplayResult:
    """How many messages were written, how many remain by reason, and the ids of all of them."""

    written: int = 0
    remaining: Counter[str] = field(default_factory=Counter)
    ids: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _BatchResult:
    """What a batch becomes, by id; `unopened` says why bodies could not be opened."""

    rows: list[tuple[int, Row]] = field(default_factory=list)
    remaining: list[tuple[int, _Why]] = field(default_factory=list)
    unopened: dict[int, str] = field(default_factory=dict)


class Replay:
    """Validates and masks quarantined messages again, and writes those that pass.

    `bodies` has by id the bodies that replace those in quarantine. `reason` is audited.
    """

    def __init__(
        self, model: type[EventModel], ring: KeyRing, bodies: Mapping[int, str], reason: str
    ) -> None:
        self._model = model
        self._table = table_of(model)
        self._ring = ring
        self._seal = BodySeal(ring)
        self._bodies = bodies
        self._reason = reason

    async def run(self, connections: ConnectionSettings, selection: Selection) -> ReplayResult:
        """Replay the selected messages, a few in each transaction.

        Messages that another replay has locked are left to it.

        Raises:
            KeyRingError: the database knows another key under the name of one of the ring.
            DatabaseError: as of any statement; what was committed stays.
        """
        done, after = ReplayResult(), 0
        async with connected(connections) as connection:
            kinds = await table_kinds(connection, self._table)
            await register_fingerprints(connection, self._ring.fingerprints())
            transform = Transform(self._model, kinds, self._ring)
            writer = ReplayWriter(self._table, kinds)
            while True:
                with translated():
                    async with connection.transaction():
                        batch = await sealed_entries(
                            connection, self._model.table, selection, after=after, claim=True
                        )
                        if not batch:
                            return done
                        result = self._transformed(batch, transform)
                        await self._write(connection, batch, result, writer)
                after = batch[-1].id
                _count(done, batch, result)

    async def dry_run(self, connections: ConnectionSettings, selection: Selection) -> ReplayResult:
        """What `run` would do, except for rows that PostgreSQL itself would refuse.

        Raises what `run` raises.
        """
        done, after = ReplayResult(), 0
        async with connected(connections) as connection:
            kinds = await table_kinds(connection, self._table)
            await compare_fingerprints(connection, self._ring.fingerprints())
            transform = Transform(self._model, kinds, self._ring)
            while batch := await sealed_entries(
                connection, self._model.table, selection, after=after
            ):
                after = batch[-1].id
                _count(done, batch, self._transformed(batch, transform))
        return done

    def _transformed(self, batch: Sequence[SealedEntry], transform: Transform) -> _BatchResult:
        result = _BatchResult()
        for entry in batch:
            body = self._bodies.get(entry.id)
            opened = _unsealed(self._seal, entry) if body is None else body
            if isinstance(opened, TokenError):
                result.unopened[entry.id] = str(opened)
                continue
            match transform(entry.message(opened)):
                case Row() as row:
                    result.rows.append((entry.id, row))
                case Quarantined(reason=reason, field_name=field_name):
                    result.remaining.append((entry.id, (reason, field_name)))
        return result

    async def _write(
        self,
        connection: asyncpg.Connection,
        batch: Sequence[SealedEntry],
        result: _BatchResult,
        writer: ReplayWriter,
    ) -> None:
        """Write rows, update the reasons of the rest, audit both; the caller commits."""
        refused = await writer.write(connection, result.rows)
        result.rows = [row for row in result.rows if row[0] not in refused]
        result.remaining += [
            (entry_id, (Reason.REJECTED_BY_DATABASE, error.column))
            for entry_id, error in refused.items()
        ]
        # An edited body that does not pass is dropped, and so is the reason of its refusal.
        original = [each for each in result.remaining if each[0] not in self._bodies]
        await update_reasons(connection, [(entry_id, *why) for entry_id, why in original])
        # Last: other writers of the audit wait from here to the commit.
        await record(connection, self._audit_entries(batch, result))

    def _audit_entries(
        self, batch: Sequence[SealedEntry], result: _BatchResult
    ) -> list[AuditEntry]:
        written = {entry_id for entry_id, _ in result.rows}
        reasons = {entry_id: reason_text(*why) for entry_id, why in result.remaining}
        return [
            _audit_entry(
                Action.QUARANTINE_REPLAY,
                entry,
                "written"
                if entry.id in written
                else f"remains: {reasons.get(entry.id, 'not opened')}",
                self._reason,
            )
            for entry in batch
        ]


def _count(done: ReplayResult, batch: Sequence[SealedEntry], result: _BatchResult) -> None:
    done.ids.update(entry.id for entry in batch)
    done.written += len(result.rows)
    done.remaining.update(reason_text(*why) for _, why in result.remaining)
    done.remaining.update(result.unopened.values())


def _unsealed(seal: BodySeal, entry: SealedEntry) -> str | TokenError:
    try:
        return seal.unseal(entry.kid, entry.message_id, entry.sealed_body)
    except TokenError as refusal:
        return refusal


def _show_entry(entry: SealedEntry, body: str | TokenError, reason: str) -> AuditEntry:
    outcome = f"refused: {body}" if isinstance(body, TokenError) else "shown"
    return _audit_entry(Action.QUARANTINE_SHOW, entry, outcome, reason)


def _audit_entry(action: Action, entry: SealedEntry, outcome: str, reason: str) -> AuditEntry:
    return AuditEntry(
        action,
        reason,
        f"{outcome}; quarantine row {entry.id}, message {entry.message_id}",
        kid=entry.kid,
        digest=hashlib.sha256(entry.sealed_body).digest(),
    )
