"""`consumer export`."""

import sys
from pathlib import Path
from typing import BinaryIO

import click

from consumer.commands.context import CommandContext
from consumer.postgres.export import copy_out
from consumer.postgres.inspect import table_kinds
from consumer.runtime import run_async


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it appears when the export is complete. Default: standard output.",
)
@click.pass_obj
def export(context: CommandContext, output: Path | None) -> None:
    """Write the masked table as CSV with a header; NULL is an empty field.

    Rows are streamed: memory does not grow with the table.

    \b
    Examples:
      consumer export --output masked_user_logins.csv
      consumer export | gzip >masked_user_logins.csv.gz
    """
    if output is None:
        rows = run_async(_export(context, sys.stdout.buffer))
    else:
        rows = _export_to(context, output)
    click.echo(f"{rows:,} rows", err=True)


def _export_to(context: CommandContext, output: Path) -> int:
    """Write beside `output` first, so that half an export is never taken for a whole one."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as stream:
            rows = run_async(_export(context, stream))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return rows


async def _export(context: CommandContext, stream: BinaryIO) -> int:
    async with context.connected() as connection:
        kinds = await table_kinds(connection, context.table)
        rows = await copy_out(connection, context.table, kinds, stream)
    stream.flush()
    return rows
