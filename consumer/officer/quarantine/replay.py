"""Opens quarantined messages, on record, and replays them."""

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
from consumer.officer.quarantine.store import Landing, SealedEntry, Selection, keep, sealed_entries
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.errors import translated
from consumer.postgres.inspect import table_kinds
from consumer.postgres.key_registry import compare_fingerprints, register_fingerprints

_Why = tuple[Reason, str | None]


def reason_text(reason: str, field_name: str | None) -> str:
    """The reason, and the field if one is to blame."""
    return f"{reason} ({field_name})" if field_name else reason


async def opened_on_record(
    connection: asyncpg.Connection,
    model: type[EventModel],
    ring: KeyRing,
    ids: Sequence[int],
    reason: str,
) -> AsyncIterator[tuple[SealedEntry, str]]:
    """The messages `ids` with their bodies, each once it is on record that it was opened.

    Says on standard error which cannot be opened, or are not there. Raises DatabaseError.
    """
    seal, missing, after = BodySeal(ring), set(ids), 0
    selection = Selection(ids=ids)
    while batch := await sealed_entries(connection, model.table, selection, after=after):
        after = batch[-1].id
        attempts = [(entry, _unsealed(seal, entry)) for entry in batch]
        await record(connection, [_shown(*attempt, reason) for attempt in attempts])
        for entry, body in attempts:
            missing.discard(entry.id)
            if isinstance(body, TokenError):
                click.echo(f"{entry.id}: {body}", err=True)
            else:
                yield entry, body
    for entry_id in sorted(missing):
        click.echo(f"{entry_id}: not in quarantine", err=True)


@dataclass(slots=True)
class Replayed:
    """What became of messages: how many landed, why how many stay, and the ids of all."""

    landed: int = 0
    stays: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Outcomes:
    """What a batch becomes; `unopened` is why bodies could not be opened, by id."""

    rows: list[tuple[int, Row]] = field(default_factory=list)
    kept: list[tuple[int, _Why]] = field(default_factory=list)
    unopened: dict[int, str] = field(default_factory=dict)


class Replay:
    """Validates and masks quarantined messages again, and lands those that pass.

    `bodies` has by id the bodies to take instead of those in quarantine. `reason` goes on record.
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

    async def run(self, server: ConnectionSettings, selection: Selection) -> Replayed:
        """Replay what is selected, a transaction for each few messages.

        What another replay has in hand is left to it.

        Raises:
            KeyRingError: the database knows another key under the name of one of the ring.
            DatabaseError: as of any statement; what landed stays landed.
        """
        done, after = Replayed(), 0
        async with connected(server) as connection:
            kinds = await table_kinds(connection, self._table)
            await register_fingerprints(connection, self._ring.fingerprints())
            transform, landing = (
                Transform(self._model, kinds, self._ring),
                Landing(self._table, kinds),
            )
            while True:
                with translated():
                    async with connection.transaction():
                        batch = await sealed_entries(
                            connection, self._model.table, selection, after=after, claim=True
                        )
                        if not batch:
                            return done
                        outcomes = self._outcomes(batch, transform)
                        await self._commit(connection, batch, outcomes, landing)
                after = batch[-1].id
                _count(done, batch, outcomes)

    async def dry_run(self, server: ConnectionSettings, selection: Selection) -> Replayed:
        """Tell what `run` would do; what PostgreSQL itself would refuse does not show.

        Raises what `run` raises.
        """
        done, after = Replayed(), 0
        async with connected(server) as connection:
            kinds = await table_kinds(connection, self._table)
            await compare_fingerprints(connection, self._ring.fingerprints())
            transform = Transform(self._model, kinds, self._ring)
            while batch := await sealed_entries(
                connection, self._model.table, selection, after=after
            ):
                after = batch[-1].id
                _count(done, batch, self._outcomes(batch, transform))
        return done

    def _outcomes(self, batch: Sequence[SealedEntry], transform: Transform) -> _Outcomes:
        outcomes = _Outcomes()
        for entry in batch:
            body = self._bodies.get(entry.id)
            opened = _unsealed(self._seal, entry) if body is None else body
            if isinstance(opened, TokenError):
                outcomes.unopened[entry.id] = str(opened)
                continue
            match transform(entry.message(opened)):
                case Row() as row:
                    outcomes.rows.append((entry.id, row))
                case Quarantined(reason=reason, field_name=field_name):
                    outcomes.kept.append((entry.id, (reason, field_name)))
        return outcomes

    async def _commit(
        self,
        connection: asyncpg.Connection,
        batch: Sequence[SealedEntry],
        outcomes: _Outcomes,
        landing: Landing,
    ) -> None:
        """Land rows, note why the rest stays, put it on record; the caller commits all or none."""
        refused = await landing.land(connection, outcomes.rows)
        outcomes.rows = [row for row in outcomes.rows if row[0] not in refused]
        outcomes.kept += [
            (entry_id, (Reason.REJECTED_BY_DATABASE, error.column))
            for entry_id, error in refused.items()
        ]
        # Of a body that was edited nothing is kept, nor why it was refused.
        await keep(
            connection,
            [(entry_id, *why) for entry_id, why in outcomes.kept if entry_id not in self._bodies],
        )
        # Last, for other writers of the audit wait from here to the commit.
        await record(connection, self._audited(batch, outcomes))

    def _audited(self, batch: Sequence[SealedEntry], outcomes: _Outcomes) -> list[AuditEntry]:
        landed = {entry_id for entry_id, _ in outcomes.rows}
        stays = {entry_id: reason_text(*why) for entry_id, why in outcomes.kept}
        return [
            _entry(
                Action.QUARANTINE_REPLAY,
                entry,
                "landed" if entry.id in landed else f"stays: {stays.get(entry.id, 'not opened')}",
                self._reason,
            )
            for entry in batch
        ]


def _count(done: Replayed, batch: Sequence[SealedEntry], outcomes: _Outcomes) -> None:
    done.seen.update(entry.id for entry in batch)
    done.landed += len(outcomes.rows)
    done.stays.update(reason_text(*why) for _, why in outcomes.kept)
    done.stays.update(outcomes.unopened.values())


def _unsealed(seal: BodySeal, entry: SealedEntry) -> str | TokenError:
    try:
        return seal.unseal(entry.kid, entry.message_id, entry.sealed_body)
    except TokenError as refusal:
        return refusal


def _shown(entry: SealedEntry, body: str | TokenError, reason: str) -> AuditEntry:
    outcome = f"refused: {body}" if isinstance(body, TokenError) else "shown"
    return _entry(Action.QUARANTINE_SHOW, entry, outcome, reason)


def _entry(action: Action, entry: SealedEntry, outcome: str, reason: str) -> AuditEntry:
    return AuditEntry(
        action,
        reason,
        f"{outcome}; quarantine row {entry.id}, message {entry.message_id}",
        kid=entry.kid,
        digest=hashlib.sha256(entry.sealed_body).digest(),
    )
