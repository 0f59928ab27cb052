"""`consumer recover`."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import BinaryIO

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.errors import NotATokenError, TokenError
from consumer.events.model import tokens_of
from consumer.masking.mask import kid_of
from consumer.officer.audit.store import Action, AuditEntry, AuditHead, record, sha256_of
from consumer.officer.recovery.recoverer import Recovered, Recoverer
from consumer.officer.recovery.token_input import (
    CsvOutput,
    CsvTokens,
    LineOutput,
    RecoveredOutput,
    TokenItem,
    token_items,
)
from consumer.runtime import run_async

_BATCH_ITEMS = 1000

_Attempt = Recovered | TokenError


@click.command()
@click.argument("tokens", nargs=-1, metavar="[TOKEN...]")
@click.option("--reason", required=True, help="Why the values are needed; it is audited.")
@click.option(
    "--field",
    "name",
    default="",
    help="The masked field, or one of its columns, that the tokens come from. Default: --column, if"
    " it is such a column; otherwise every column that is masked with siv is tried.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.File("rb"),
    metavar="FILE",
    help="Take the tokens from a column of a CSV file with a header; - is standard input.",
)
@click.option("--column", help="The column of --csv that holds the tokens.")
@click.option(
    "--as",
    "into",
    default="recovered",
    show_default=True,
    help="The column of the output that takes the values; an existing one is replaced.",
)
@click.pass_obj
def recover(
    context: CommandContext,
    *,
    tokens: tuple[str, ...],
    reason: str,
    name: str,
    csv_file: BinaryIO | None,
    column: str | None,
    into: str,
) -> None:
    """Recover original values from tokens (audited); it takes the key ring that made the tokens.

    Each TOKEN gives a line, empty if the token is refused; a single - reads tokens from the lines
    of standard input. --csv copies the file and adds a column. Every value is audited before it is
    shown; a value that cannot be audited is not shown. The exit code is 1 if any token is refused.

    \b
    Examples:
      consumer recover --reason "ticket 4711" k1.T2vVhWYfVtWZQ1zSdPyeYQ…
      consumer recover --reason "ticket 4711" --field ip - <tokens.txt
      consumer recover --reason "ticket 4711" --csv logins.csv --column masked_ip --as ip
      psql --csv -c "SELECT token, events FROM consumer.repeated_devices" |
        consumer recover --reason "ticket 4711" --csv - --column token
    """
    if bool(tokens) == (csv_file is not None) or (csv_file is None) != (column is None):
        raise click.UsageError("give either TOKENs, or --csv and --column")
    if not reason.strip():
        raise click.UsageError("--reason is empty")
    if not name and column in {token.column for token in tokens_of(context.model)}:
        name = column
    recoverer = Recoverer(context.model, run_async(context.key_ring()), name)
    recovery = _AuditedRecovery(recoverer, context.model.table, name, reason)
    if csv_file is not None and column is not None:
        with closing(CsvTokens(csv_file, column, into)) as rows:
            output = CsvOutput(sys.stdout, rows)
            head = run_async(_recover_all(context, recovery, rows.items(), output))
    else:
        items = token_items(_stdin_lines() if tokens == ("-",) else tokens)
        head = run_async(_recover_all(context, recovery, items, LineOutput(sys.stdout)))
    if head is not None:
        click.echo(f"audited up to {head}", err=True)
    if recovery.refused:
        raise click.exceptions.Exit(1)


class _AuditedRecovery:
    """Recovers batches of tokens: audits them first, then shows them."""

    def __init__(self, recoverer: Recoverer, table: str, name: str, reason: str) -> None:
        self._recoverer = recoverer
        self._table = table
        self._name = name
        self._reason = reason
        self.refused = 0

    async def recover_batch(
        self, connection: asyncpg.Connection, batch: Sequence[TokenItem], output: RecoveredOutput
    ) -> AuditHead:
        """Recover, audit, show; a token that is in the batch twice is audited once."""
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
            return self._recoverer.recover(token)
        except TokenError as refusal:
            return refusal

    def _entry(self, token: str, attempt: _Attempt) -> AuditEntry:
        outcome, column = f"refused: {attempt}", self._name
        if isinstance(attempt, Recovered):
            outcome, column = "recovered", attempt.column
        # A text that is no token may be a raw value, and its hash would give it away.
        is_token = not isinstance(attempt, NotATokenError)
        return AuditEntry(
            Action.RECOVER,
            self._reason,
            outcome,
            column=f"{self._table}.{column}" if column else None,
            kid=kid_of(token) if is_token else None,
            digest=sha256_of(token) if is_token else None,
        )


async def _recover_all(
    context: CommandContext,
    recovery: _AuditedRecovery,
    items: Iterable[TokenItem],
    output: RecoveredOutput,
) -> AuditHead | None:
    """Recover all items in batches; return the audit's head, None if there was no token."""
    head = None
    async with context.connected() as connection:
        for batch in _batches(items):
            head = await recovery.recover_batch(connection, batch, output)
        output.write([])
    return head


def _batches(items: Iterable[TokenItem]) -> Iterator[list[TokenItem]]:
    batch: list[TokenItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


def _stdin_lines() -> Iterator[str]:
    """Standard input's lines; a line that is not UTF-8 becomes a text that is no token."""
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "backslashreplace")


def _value(attempts: Mapping[str, _Attempt], item: TokenItem) -> str | None:
    attempt = attempts.get(item.token)
    return attempt.value if isinstance(attempt, Recovered) else None
