"""`consumer erase`."""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.errors import TokenError
from consumer.events.model import EventModel
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.officer.audit.store import Action, AuditEntry, record
from consumer.officer.erasure.store import (
    ErasureEntry,
    add_to_erasure_list,
    delete_rows,
    erasure_list,
    now,
    subjects_in,
)
from consumer.officer.erasure.subjects import SubjectHash, SubjectSearch, subject_column
from consumer.officer.quarantine.store import every_sealed_entry, remove
from consumer.postgres.errors import translated
from consumer.postgres.key_registry import register_fingerprints
from consumer.runtime import run_async

_HEADER = ("column", "kid", "subject_hash", "erased_at")
_SUBJECTS_PER_STATEMENT = 1000


@click.command()
@click.option(
    "--user-id", "subject", metavar="ID", help="The subject to erase; - reads a line of stdin."
)
@click.option("--reapply", is_flag=True, help="Erase all subjects of the erasure list again.")
@click.option(
    "--from",
    "list_file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="With --reapply: add this list first, as --export wrote it.",
)
@click.option("--export", is_flag=True, help="Write the erasure list as CSV, to store elsewhere.")
@click.option("--reason", default="", help="Why; it is audited. Required except for --export.")
@click.pass_obj
def erase(
    context: CommandContext,
    *,
    subject: str | None,
    reapply: bool,
    list_file: TextIO | None,
    export: bool,
    reason: str,
) -> None:
    """Delete a subject's rows and quarantined messages in one transaction (audited).

    The erasure list, consumer.erased, gets a keyed hash of the subject. A restored backup has only
    the list of its own time: store the output of --export beside the backups, and --reapply it
    after a restore.

    Messages that are still on the queue are written after this: --reapply once the queue's
    retention has passed. The exit code is 1 if some bodies or entries could not be checked.

    \b
    Examples:
      consumer erase --user-id 424cdd21-063a-43a7-b91b-7ca1a833afae --reason "request 17"
      consumer erase --export >/mnt/elsewhere/erased.csv
      consumer erase --reapply --from /mnt/elsewhere/erased.csv --reason "restore of June 3"
    """
    if [subject is not None, reapply, export].count(True) != 1 or (list_file and not reapply):
        raise click.UsageError("give one of --user-id, --reapply, --export; --from with --reapply")
    if not export and not reason.strip():
        raise click.UsageError("--reason is missing or empty: it is audited")
    if subject == "-":
        subject = sys.stdin.readline().rstrip("\r\n")
    if subject == "":
        raise click.UsageError("--user-id is empty")
    if export:
        run_async(_export(context))
        return
    eraser = _Eraser(context.model, run_async(context.key_ring()), reason)
    more = _read_list(list_file) if list_file else ()
    result = run_async(_erase(context, eraser, subject, more))
    _report(result, was_named=subject is not None)


@dataclass(slots=True)
class _ErasureResult:
    """What was deleted, and what could not be checked."""

    rows: int = 0
    messages: int = 0
    unopened: list[int] = field(default_factory=list)
    not_applied: int = 0
    unknown_kids: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.rows:,} rows and {self.messages:,} messages in quarantine"


async def _erase(
    context: CommandContext, eraser: "_Eraser", subject: str | None, more: Sequence[ErasureEntry]
) -> _ErasureResult:
    """Erase one subject, or without one everybody on the list; all of it or nothing.

    Raises:
        KeyRingError: the database knows another key under the name of one of the ring.
        DatabaseError: as of any statement.
    """
    async with context.connected() as connection:
        await register_fingerprints(connection, eraser.ring.fingerprints())
        with translated():
            async with connection.transaction():
                if subject is None:
                    return await eraser.reapply(connection, more)
                return await eraser.erase(connection, subject)


class _Eraser:
    """Erases subjects from a model's table and from the quarantine, in the caller's transaction."""

    def __init__(self, model: type[EventModel], ring: KeyRing, reason: str) -> None:
        self.ring = ring
        self._model = model
        self._column = subject_column(model)
        self._name = f"{model.table}.{self._column}"
        self._hash = SubjectHash(ring, self._name)
        self._search = SubjectSearch(model)
        self._seal = BodySeal(ring)
        self._reason = reason

    async def erase(self, connection: asyncpg.Connection, subject: str) -> _ErasureResult:
        """Add the subject's hash to the list, and delete its messages and rows."""
        result, kid = _ErasureResult(), self._hash.primary
        digest = self._hash.digest(subject, kid)
        entry = ErasureEntry(self._name, kid, digest, await now(connection))
        await add_to_erasure_list(connection, [entry])
        await self._delete_messages(connection, result, subject.__eq__)
        await self._delete_rows(connection, result, [subject])
        await self._audit(connection, f"erased {result}", kid, digest)
        return result

    async def reapply(
        self, connection: asyncpg.Connection, more: Sequence[ErasureEntry]
    ) -> _ErasureResult:
        """Add `more` to the list, and delete the messages and rows of every subject on it."""
        result = _ErasureResult()
        await add_to_erasure_list(connection, more)
        is_listed = self._is_listed(await erasure_list(connection), result)
        await self._delete_messages(connection, result, is_listed)
        subjects = subjects_in(connection, self._model.table, self._column)
        found = [subject async for subject in subjects if is_listed(subject)]
        await self._delete_rows(connection, result, found)
        await self._audit(connection, f"reapplied: erased {result}")
        return result

    def _is_listed(
        self, entries: Sequence[ErasureEntry], result: _ErasureResult
    ) -> Callable[[str], bool]:
        """Whether a subject is on the list, as far as the ring has the keys of the entries."""
        ours = [entry for entry in entries if entry.column == self._name]
        unknown = [entry for entry in ours if entry.kid not in self._hash.kids]
        result.not_applied = len(unknown)
        result.unknown_kids = {entry.kid for entry in unknown}
        hashes = {(entry.kid, entry.subject_hash) for entry in ours}
        kids = {entry.kid for entry in ours} - result.unknown_kids

        def is_listed(subject: str) -> bool:
            return any((kid, self._hash.digest(subject, kid)) in hashes for kid in kids)

        return is_listed

    async def _delete_messages(
        self,
        connection: asyncpg.Connection,
        result: _ErasureResult,
        is_erased: Callable[[str], bool],
    ) -> None:
        """Delete the messages that name an erased subject.

        Called before the rows are deleted: a message that a replay writes meanwhile is found either
        here or there.
        """
        ids = []
        async for entry in every_sealed_entry(connection, self._model.table):
            try:
                body = self._seal.unseal(entry.kid, entry.message_id, entry.sealed_body)
            except TokenError:
                result.unopened.append(entry.id)
                continue
            if any(map(is_erased, set(self._search.texts(body)))):
                ids.append(entry.id)
        result.messages = await remove(connection, ids)

    async def _delete_rows(
        self, connection: asyncpg.Connection, result: _ErasureResult, subjects: Sequence[str]
    ) -> None:
        for first in range(0, len(subjects), _SUBJECTS_PER_STATEMENT):
            some = subjects[first : first + _SUBJECTS_PER_STATEMENT]
            result.rows += await delete_rows(connection, self._model.table, self._column, some)

    async def _audit(
        self,
        connection: asyncpg.Connection,
        outcome: str,
        kid: str | None = None,
        digest: bytes | None = None,
    ) -> None:
        entry = AuditEntry(
            Action.ERASE, self._reason, outcome, column=self._name, kid=kid, digest=digest
        )
        await record(connection, [entry])


def _report(result: _ErasureResult, *, was_named: bool) -> None:
    click.echo(f"erased {result}")
    if not (result.rows or result.messages):
        added = " The ID was added to the erasure list anyway." if was_named else ""
        click.echo(f"No rows or quarantined messages matched.{added}", err=True)
    if result.unopened:
        ids = ", ".join(map(str, result.unopened))
        click.echo(f"not checked, this key ring does not open them: {ids}", err=True)
    if result.not_applied:
        kids = ", ".join(sorted(result.unknown_kids))
        click.echo(
            f"not applied: {result.not_applied:,} entries of the list, the ring lacks their keys:"
            f" {kids}",
            err=True,
        )
    if result.unopened or result.not_applied:
        raise click.exceptions.Exit(1)


async def _export(context: CommandContext) -> None:
    async with context.connected() as connection:
        entries = await erasure_list(connection)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_HEADER)
    for entry in entries:
        writer.writerow(
            (entry.column, entry.kid, entry.subject_hash.hex(), entry.erased_at.isoformat())
        )


def _read_list(file: TextIO) -> Sequence[ErasureEntry]:
    """The entries of a list that `_export` wrote; raises ClickException for any other file."""
    try:
        header, *rows = csv.reader(file, strict=True)
        entries = [
            ErasureEntry(column, kid, bytes.fromhex(digest), datetime.fromisoformat(moment))
            for column, kid, digest, moment in rows
        ]
    except (ValueError, csv.Error):
        header, entries = [], []
    if tuple(header) != _HEADER:
        raise click.ClickException("--from: this is not a list that `erase --export` wrote")
    return entries
