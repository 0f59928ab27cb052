"""`consumer recover`."""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import BinaryIO, TextIO

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.errors import NotATokenError, TokenError
from consumer.events.model import load_model, tokens_of
from consumer.keys.sources import load_key_ring
from consumer.masking.mask import kid_of
from consumer.officer.audit.store import Action, AuditEntry, AuditHead, digest_of, record
from consumer.officer.recovery.items import (
    Csv,
    CsvFile,
    Item,
    Lines,
    Output,
    Table,
    answered,
    listed,
)
from consumer.officer.recovery.query import answer_of
from consumer.officer.recovery.recoverer import Recovered, Recovery
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of, key_source_of

_BATCH_ITEMS = 1000

_Attempt = Recovered | TokenError


@click.command()
@click.argument("tokens", nargs=-1, metavar="[TOKEN...]")
@click.option("--reason", required=True, help="Why the values are needed; it goes on record.")
@click.option(
    "--field",
    "of",
    default="",
    help="The masked field, or one of its columns, that the tokens are of. Default: --column, if it"
    " is such a column; otherwise each column that is masked with siv is tried.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.File("rb"),
    metavar="FILE",
    help="Take the tokens from a column of a CSV file with a header; - is standard input.",
)
@click.option("--query", metavar="SQL", help="Take the tokens from a column of a query's answer.")
@click.option("--column", help="The column of --csv or --query that holds the tokens.")
@click.option(
    "--as",
    "into",
    default="recovered",
    show_default=True,
    help="The column that takes the values; it is replaced if it is there.",
)
@click.pass_obj
def recover(
    context: CommandContext,
    *,
    tokens: tuple[str, ...],
    reason: str,
    of: str,
    csv_file: BinaryIO | None,
    query: str | None,
    column: str | None,
    into: str,
) -> None:
    """Show what tokens stand for; it takes the key ring that made them.

    TOKENs, or the lines of standard input for a single -, give a line each, empty where a token
    was refused. --csv and --query give CSV with one more column. Nothing is shown before it is on
    record in consumer.audit; what cannot be put on record is not shown. The exit code is 1 if any
    token was refused.

    \b
    Examples:
      consumer recover --reason "ticket 4711" k1.T2vVhWYfVtWZQ1zSdPyeYQ…
      consumer recover --reason "ticket 4711" --field ip - <tokens.txt
      consumer recover --reason "ticket 4711" --csv logins.csv --column masked_ip --as ip
      consumer recover --reason "ticket 4711" --column token --query
        'SELECT token, events FROM consumer.repeated_devices'
    """
    source = _Source(tokens, csv_file, query, column, into)
    source.check()
    if not reason.strip():
        raise click.UsageError("--reason is empty")
    settings = context.settings
    model = load_model(settings.event.model)
    ring = run_async(load_key_ring(key_source_of(settings)))
    if not of and column in {token.column for token in tokens_of(model)}:
        of = column
    desk = _Desk(model.table, of, Recovery(model, ring, of), reason)
    head = run_async(_recover(connection_settings_of(settings), desk, source))
    if head is not None:
        click.echo(f"on record up to {head}", err=True)
    if desk.refused:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the tokens are, as the options say it."""

    tokens: tuple[str, ...]
    csv_file: BinaryIO | None
    query: str | None
    column: str | None
    into: str

    def check(self) -> None:
        """Refuse options that do not go together."""
        given = [bool(self.tokens), self.csv_file is not None, self.query is not None]
        if given.count(True) != 1:
            raise click.UsageError("give either TOKENs, or --csv, or --query")
        if bool(self.tokens) == (self.column is not None):
            raise click.UsageError(
                "--csv and --query need --column, the one that holds the tokens; TOKENs take none"
            )

    async def open(
        self, server: ConnectionSettings, stack: AsyncExitStack, stream: TextIO
    ) -> tuple[AsyncIterator[Item], Output]:
        """The items, and the form that their values are shown in."""
        column = self.column or ""
        if self.csv_file is not None:
            file = CsvFile(self.csv_file)
            stack.callback(file.release)
            table = Table(file.columns, column, self.into)
            return file.items(table), Csv(stream, table)
        if self.query is not None:
            # A connection of its own: this one is in a transaction while the audit commits.
            reader = await stack.enter_async_context(connected(server))
            answer = await stack.enter_async_context(answer_of(reader, self.query))
            table = Table(answer.columns, column, self.into)
            return answered(answer, table), Csv(stream, table)
        return listed(_lines() if self.tokens == ("-",) else self.tokens), Lines(stream)


class _Desk:
    """Recovers batches of tokens: first on record, then shown."""

    def __init__(self, table: str, of: str, recovery: Recovery, reason: str) -> None:
        self._table = table
        self._of = of
        self._recovery = recovery
        self._reason = reason
        self.refused = 0

    async def serve(
        self, connection: asyncpg.Connection, batch: Sequence[Item], output: Output
    ) -> AuditHead:
        """Recover, put on record, show; a token that is in the batch twice is on record once."""
        attempts = {item.token: self._attempt(item.token) for item in batch if item.token}
        head = await record(connection, [self._entry(*each) for each in attempts.items()])
        output.write([(item, _value(attempts, item)) for item in batch])
        for item in batch:
            refusal = attempts.get(item.token)
            if isinstance(refusal, TokenError):
                self.refused += 1
                click.echo(f"{item.place}: {refusal}", err=True)
        return head

    def _attempt(self, token: str) -> _Attempt:
        try:
            return self._recovery(token)
        except TokenError as refusal:
            return refusal

    def _entry(self, token: str, attempt: _Attempt) -> AuditEntry:
        outcome, column = f"refused: {attempt}", self._of
        if isinstance(attempt, Recovered):
            outcome, column = "recovered", attempt.column
        # What is no token may be a raw value, and its hash would give it away.
        is_token = not isinstance(attempt, NotATokenError)
        return AuditEntry(
            Action.RECOVER,
            self._reason,
            outcome,
            column=f"{self._table}.{column}" if column else None,
            kid=kid_of(token) if is_token else None,
            digest=digest_of(token) if is_token else None,
        )


async def _recover(server: ConnectionSettings, desk: _Desk, source: _Source) -> AuditHead | None:
    """Serve all items in batches; return the audit's head, None if there was no token."""
    stream = sys.stdout
    head = None
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(server))
        items, output = await source.open(server, stack, stream)
        async for batch in _batches(items):
            head = await desk.serve(connection, batch, output)
        output.write([])
    return head


async def _batches(items: AsyncIterator[Item]) -> AsyncIterator[list[Item]]:
    batch: list[Item] = []
    async for item in items:
        batch.append(item)
        if len(batch) == _BATCH_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


def _lines() -> Iterator[str]:
    """Standard input's lines; what is not UTF-8 is no token, and is refused as one."""
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "backslashreplace")


def _value(attempts: Mapping[str, _Attempt], item: Item) -> str | None:
    attempt = attempts.get(item.token)
    return attempt.value if isinstance(attempt, Recovered) else None
