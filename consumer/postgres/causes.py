"""Whether a row or the state of the database is the cause of a refusal.

A row is the cause if one of the event's values is: that message is quarantined. Anything else would
refuse every row, so the batch is held until someone acts.
"""

from collections.abc import Set as AbstractSet

import asyncpg

from consumer.errors import DatabaseError, DatabaseRefusedError, DataRejectedError
from consumer.postgres.errors import PartitionMissingError, translated
from consumer.postgres.queries import load_queries

_REFUSED_BY = load_queries(__package__, "sql/queries.sql")["refused_by"]
_NOT_NULL_VIOLATION = "23502"


async def cause_of(
    connection: asyncpg.Connection,
    error: DataRejectedError | PartitionMissingError,
    written: AbstractSet[str],
) -> DatabaseError:
    """The error itself, or the one that says what the database lacks.

    `written` are the columns of the event.

    Raises:
        DatabaseError: as of any statement.
    """
    constraint = error.column if isinstance(error, DataRejectedError) else None
    with translated():
        record = await connection.fetchrow(_REFUSED_BY, error.table, constraint)
    if record is None:  # no table was named, or it was dropped meanwhile
        return error
    table, schema, partition_key, columns = record
    if isinstance(error, PartitionMissingError):
        return PartitionMissingError(error.table, _partition_advice(table, partition_key))
    if schema == "consumer":
        advice = f"{error.column} of {table} refuses every message: drop it"
        return DatabaseRefusedError(error.sqlstate, advice)
    if error.sqlstate == _NOT_NULL_VIOLATION and error.column not in {None, *written}:
        advice = (
            f"column {table}.{error.column} is NOT NULL and is not of the event:"
            " give it a default or drop NOT NULL"
        )
        return DatabaseRefusedError(error.sqlstate, advice)
    if columns and written.isdisjoint(columns):
        advice = (
            f"constraint {error.column} of {table} is on {', '.join(columns)}, which is not of the"
            " event: correct its default or its sequence"
        )
        return DatabaseRefusedError(error.sqlstate, advice)
    return error


def _partition_advice(table: str, partition_key: str | None) -> str:
    if partition_key is None:  # the table is a partition itself
        return f"the bound of the partition {table} excludes a row: write to its parent"
    return f"no partition of {table} takes a row by its {partition_key}: create it"
