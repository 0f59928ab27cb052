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
from consumer.events.model import EventModel, load_model
from consumer.keys.sources import load_key_ring
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.officer.audit.store import Action, AuditEntry, record
from consumer.officer.erasure.store import Erased, delete_rows, erased, now, persons, remember
from consumer.officer.erasure.subjects import SubjectHash, SubjectSearch, subject_column
from consumer.officer.quarantine.store import every_sealed_entry, remove
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.errors import translated
from consumer.postgres.key_registry import register_fingerprints
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of, key_source_of
from consumer.settings.sections import Settings

_HEADER = ("column", "kid", "person_hash", "erased_at")
_PERSONS_AT_A_TIME = 1000


@click.command()
@click.option("--user-id", "person", metavar="ID", help="Whom to erase; - reads a line of stdin.")
@click.option("--reapply", is_flag=True, help="Erase again all who were erased before.")
@click.option(
    "--from",
    "lists",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="With --reapply: take over this list first, as --export wrote it.",
)
@click.option("--export", is_flag=True, help="Write the erasure list as CSV, to keep it elsewhere.")
@click.option("--reason", default="", help="Why; it goes on record. Required but for --export.")
@click.pass_obj
def erase(
    context: CommandContext,
    *,
    person: str | None,
    reapply: bool,
    lists: TextIO | None,
    export: bool,
    reason: str,
) -> None:
    """Delete a person's rows and quarantined messages, in one transaction, on record.

    The person is remembered as a keyed hash in consumer.erased. A restored backup has only the list
    of its own time: keep what --export writes beside the backups, and --reapply it after a restore.

    What is still on the queue lands after this: --reapply once the queue's retention has passed.
    The exit code is 1 if something could not be looked into; it says what.

    \b
    Examples:
      consumer erase --user-id 424cdd21-063a-43a7-b91b-7ca1a833afae --reason "request 17"
      consumer erase --export >/mnt/elsewhere/erased.csv
      consumer erase --reapply --from /mnt/elsewhere/erased.csv --reason "restore of June 3"
    """
    if [person is not None, reapply, export].count(True) != 1 or (lists and not reapply):
        raise click.UsageError(
            "give one of --user-id, --reapply and --export; --from with --reapply"
        )
    if not export and not reason.strip():
        raise click.UsageError("--reason is missing or empty: it goes on record")
    if person == "-":
        person = sys.stdin.readline().rstrip("\r\n")
    if person == "":
        raise click.UsageError("--user-id is empty")
    settings = context.settings
    if export:
        run_async(_export(settings))
        return
    model = load_model(settings.event.model)
    eraser = _Eraser(model, run_async(load_key_ring(key_source_of(settings))), reason)
    entries = _read(lists) if lists else ()
    if person is not None:
        done = run_async(eraser.erase(connection_settings_of(settings), person))
    else:
        done = run_async(eraser.reapply(connection_settings_of(settings), entries))
    _tell(done)


@dataclass(slots=True)
class _Done:
    """What was deleted, and what could not be looked into."""

    rows: int = 0
    messages: int = 0
    unopened: list[int] = field(default_factory=list)
    unknown: int = 0
    unknown_kids: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.rows:,} rows and {self.messages:,} messages in quarantine"


class _Eraser:
    """Erases persons from a model's table and from the quarantine."""

    def __init__(self, model: type[EventModel], ring: KeyRing, reason: str) -> None:
        self._model = model
        self._column = subject_column(model)
        self._name = f"{model.table}.{self._column}"
        self._ring = ring
        self._hash = SubjectHash(ring, self._name)
        self._search = SubjectSearch(model)
        self._seal = BodySeal(ring)
        self._reason = reason

    async def erase(self, server: ConnectionSettings, person: str) -> _Done:
        """Erase one person, and put the hash on the list; all of it or nothing.

        Raises:
            KeyRingError: the database knows another key under the name of one of the ring.
            DatabaseError: as of any statement.
        """
        done, digest = _Done(), self._hash(person, self._hash.primary)
        async with connected(server) as connection:
            await register_fingerprints(connection, self._ring.fingerprints())
            with translated():
                async with connection.transaction():
                    entry = Erased(self._name, self._hash.primary, digest, await now(connection))
                    await remember(connection, [entry])
                    await self._delete_messages(connection, done, person.__eq__)
                    await self._delete_rows(connection, done, [person])
                    await self._record(connection, f"erased {done}", entry.kid, digest)
        return done

    async def reapply(self, server: ConnectionSettings, more: Sequence[Erased]) -> _Done:
        """Put `more` on the list, and erase all whose hash is on it; all of it or nothing.

        Raises what `erase` raises.
        """
        done = _Done()
        async with connected(server) as connection:
            await register_fingerprints(connection, self._ring.fingerprints())
            with translated():
                async with connection.transaction():
                    await remember(connection, more)
                    is_listed = self._listed(await erased(connection), done)
                    await self._delete_messages(connection, done, is_listed)
                    everyone = persons(connection, self._model.table, self._column)
                    found = [person async for person in everyone if is_listed(person)]
                    await self._delete_rows(connection, done, found)
                    await self._record(connection, f"reapplied: erased {done}")
        return done

    def _listed(self, entries: Sequence[Erased], done: _Done) -> Callable[[str], bool]:
        """Tells whether a person is on the list, as far as the ring has the entries' keys."""
        ours = [entry for entry in entries if entry.column == self._name]
        unknown = [entry for entry in ours if entry.kid not in self._hash.kids]
        done.unknown, done.unknown_kids = len(unknown), {entry.kid for entry in unknown}
        hashes = {(entry.kid, entry.person_hash) for entry in ours}
        kids = {entry.kid for entry in ours} - done.unknown_kids

        def is_listed(person: str) -> bool:
            return any((kid, self._hash(person, kid)) in hashes for kid in kids)

        return is_listed

    async def _delete_messages(
        self, connection: asyncpg.Connection, done: _Done, is_one: Callable[[str], bool]
    ) -> None:
        """Delete the messages that quote anyone who `is_one`; before the rows.

        So a message that a replay lands meanwhile is found either here or there.
        """
        ids = []
        async for entry in every_sealed_entry(connection, self._model.table):
            try:
                body = self._seal.unseal(entry.kid, entry.message_id, entry.sealed_body)
            except TokenError:
                done.unopened.append(entry.id)
                continue
            if any(map(is_one, set(self._search(body)))):
                ids.append(entry.id)
        done.messages = await remove(connection, ids)

    async def _delete_rows(
        self, connection: asyncpg.Connection, done: _Done, found: Sequence[str]
    ) -> None:
        for first in range(0, len(found), _PERSONS_AT_A_TIME):
            some = found[first : first + _PERSONS_AT_A_TIME]
            done.rows += await delete_rows(connection, self._model.table, self._column, some)

    async def _record(
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


def _tell(done: _Done) -> None:
    click.echo(f"erased {done}")
    if not (done.rows or done.messages):
        click.echo("nothing was found; who was named is on the list all the same", err=True)
    if done.unopened:
        ids = ", ".join(map(str, done.unopened))
        click.echo(f"not looked into, for this key ring does not open them: {ids}", err=True)
    if done.unknown:
        kids = ", ".join(sorted(done.unknown_kids))
        click.echo(
            f"not applied: {done.unknown:,} entries of the list, made under keys that the ring does"
            f" not have: {kids}",
            err=True,
        )
    if done.unopened or done.unknown:
        raise click.exceptions.Exit(1)


async def _export(settings: Settings) -> None:
    async with connected(connection_settings_of(settings)) as connection:
        entries = await erased(connection)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_HEADER)
    for entry in entries:
        writer.writerow(
            (entry.column, entry.kid, entry.person_hash.hex(), entry.erased_at.isoformat())
        )


def _read(file: TextIO) -> Sequence[Erased]:
    """The entries of a list as `_export` writes it; raises ClickException for any other."""
    try:
        header, *rows = csv.reader(file, strict=True)
        entries = [
            Erased(column, kid, bytes.fromhex(digest), datetime.fromisoformat(moment))
            for column, kid, digest, moment in rows
        ]
    except (ValueError, csv.Error):
        header, entries = [], []
    if tuple(header) != _HEADER:
        raise click.ClickException("--from: not a list that `erase --export` wrote")
    return entries
