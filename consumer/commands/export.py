"""`consumer export`."""

import sys
from pathlib import Path
from typing import BinaryIO

import click

from consumer.endpoints import server_of
from consumer.events.model import load_model, table_of
from consumer.postgres.connection import connected
from consumer.postgres.export import copy_out
from consumer.postgres.inspect import table_kinds
from consumer.runtime import run_async
from consumer.settings import Settings, load_settings


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it appears when it is complete. Default: standard output.",
)
@click.pass_obj
def export(config: Path | None, output: Path | None) -> None:
    """Write the masked table as CSV with a header; NULL is an empty field.

    Rows are streamed: memory does not grow with the table.

    \b
    Examples:
      consumer export --output masked_user_logins.csv
      consumer export | gzip >masked_user_logins.csv.gz
    """  # noqa: D301 click takes the escape itself for "leave these lines as they are"
    settings = load_settings(config)
    if output is None:
        rows = run_async(_export(settings, sys.stdout.buffer))
    else:
        rows = _export_to(settings, output)
    click.echo(f"{rows:,} rows", err=True)


def _export_to(settings: Settings, output: Path) -> int:
    """Write beside `output` first, so that half an export is never taken for a whole one."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as stream:
            rows = run_async(_export(settings, stream))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return rows


async def _export(settings: Settings, stream: BinaryIO) -> int:
    table = table_of(load_model(settings.event.model))
    async with connected(server_of(settings)) as connection:
        kinds = await table_kinds(connection, table)
        rows = await copy_out(connection, table, kinds, stream)
    stream.flush()
    return rows
