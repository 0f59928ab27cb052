"""`consumer export`."""

import sys
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.events.table import ColumnKinds, Table
from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.inspect import table_kinds
from consumer.postgres.queries import fill, identifier, joined, load_queries, qualified
from consumer.postgres.sink import columns_present
from consumer.runtime import run_async

_COPY_TABLE = load_queries("consumer.postgres", "sql/queries.sql")["copy_table"]


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


async def copy_out(
    connection: asyncpg.Connection,
    table: Table,
    kinds: ColumnKinds,
    output: PathLike[str] | BinaryIO,
) -> int:
    """Stream the table as CSV with a header, in UTF-8, and return the number of rows.

    NULL is an empty field, an empty text is `""`. Rows are read only as fast as they are written:
    memory does not grow with the table.

    Raises:
        DatabaseError: as of any statement.
        OSError: `output` takes no more.
    """
    columns = joined(identifier(column.name) for column in columns_present(table, kinds))
    query = fill(_COPY_TABLE, table=qualified(table.name), columns=columns)
    with translated(DRIVER_FAILURES):
        status = await connection.copy_from_query(query, output=output, format="csv", header=True)
    return int(status.rsplit(" ", 1)[-1])
