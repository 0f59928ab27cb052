"""`consumer mask`."""

import sys
from collections.abc import Iterator

import click

from consumer.commands.context import CommandContext
from consumer.messages import ValueRefusedError
from consumer.officer.recovery.recoverer import TokenSearch
from consumer.runtime import run_async


@click.command()
@click.argument("field")
@click.argument("value")
@click.option(
    "--all-keys",
    is_flag=True,
    help="The tokens under every key of the ring: during a rotation, rows have either.",
)
@click.pass_obj
def mask(context: CommandContext, field: str, value: str, *, all_keys: bool) -> None:
    """Print the tokens of VALUE in FIELD, ready for IN (...); no database is needed.

    FIELD is a masked field, such as ip, or one of its columns. A VALUE of - reads values from the
    lines of standard input, so that none stays in the shell's history. All spellings of an address
    have the same token.

    \b
    Examples:
      consumer mask ip 199.172.111.135
      consumer mask device_id - --all-keys <ids.txt
      psql -c "SELECT * FROM user_logins WHERE masked_ip IN ($(consumer mask ip ::1 --all-keys))"
    """
    search = TokenSearch(context.model, run_async(context.key_ring()), field)
    tokens: list[str] = []
    for number, each in enumerate(_stdin_values() if value == "-" else (value,), 1):
        try:
            found = search.tokens(each)
        except ValueRefusedError as refused:
            why = refused.reason.replace("_", " ")
            raise click.ClickException(f"value {number} cannot be masked: {why}") from None
        tokens += found if all_keys else found[:1]
    if not tokens:
        raise click.ClickException("standard input has no value")
    click.echo(", ".join(f"'{token}'" for token in dict.fromkeys(tokens)))


def _stdin_values() -> Iterator[str]:
    """Standard input's lines but for empty ones; what is not UTF-8 becomes a refused value."""
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        if text:
            yield text
