"""The masked table as a file."""

from os import PathLike
from typing import BinaryIO

import asyncpg

from consumer.events.table import ColumnKinds, Table
from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.queries import identifier, qualified
from consumer.postgres.sink import columns_present


async def copy_out(
    connection: asyncpg.Connection,
    table: Table,
    kinds: ColumnKinds,
    output: PathLike[str] | BinaryIO,
) -> int:
    """Stream the table as CSV with a header, in UTF-8, and return the number of rows.

    NULL is an empty field, an empty text is `""`. What is not written yet is not read
    yet: memory does not grow with the table.

    Raises:
        DatabaseError: as of any statement.
        OSError: `output` takes no more.
    """
    columns = ", ".join(identifier(column.name) for column in columns_present(table, kinds))
    query = f"SELECT {columns} FROM {qualified(table.name)}"  # noqa: S608 - quoted names of the model
    with translated(DRIVER_FAILURES):
        status = await connection.copy_from_query(query, output=output, format="csv", header=True)
    return int(status.rsplit(" ", 1)[-1])
