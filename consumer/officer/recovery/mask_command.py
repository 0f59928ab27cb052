"""`consumer mask`."""

import sys
from collections.abc import Iterator

import click

from consumer.commands.context import CommandContext
from consumer.events.model import load_model
from consumer.keys.sources import load_key_ring
from consumer.messages import ValueRefusedError
from consumer.officer.recovery.recoverer import Search
from consumer.runtime import run_async
from consumer.settings.endpoints import key_source_of


@click.command()
@click.argument("field")
@click.argument("value")
@click.option(
    "--all-keys",
    is_flag=True,
    help="The tokens under every key of the ring: while keys are rotated, rows have any of them.",
)
@click.pass_obj
def mask(context: CommandContext, field: str, value: str, *, all_keys: bool) -> None:
    """Show the tokens that VALUE of FIELD has, ready for IN (...); no database is asked.

    FIELD is a masked field, such as ip, or one of its columns. A VALUE of - takes the lines of
    standard input, so that none stands in the shell's history. Spellings of the same address have
    the same token.

    \b
    Examples:
      consumer mask ip 199.172.111.135
      consumer mask device_id - --all-keys <ids.txt
      psql -c "SELECT * FROM user_logins WHERE masked_ip IN ($(consumer mask ip ::1 --all-keys))"
    """
    settings = context.settings
    model = load_model(settings.event.model)
    ring = run_async(load_key_ring(key_source_of(settings)))
    search = Search(model, ring, field)
    tokens: list[str] = []
    for number, each in enumerate(_lines() if value == "-" else (value,), 1):
        try:
            found = search(each)
        except ValueRefusedError as refused:
            why = refused.reason.replace("_", " ")
            raise click.ClickException(f"value {number} cannot be masked: {why}") from None
        tokens += found if all_keys else found[:1]
    if not tokens:
        raise click.ClickException("there is no value on standard input")
    click.echo(", ".join(f"'{token}'" for token in dict.fromkeys(tokens)))


def _lines() -> Iterator[str]:
    """Standard input's lines but for empty ones; what is not UTF-8 becomes what is refused."""
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        if text:
            yield text
