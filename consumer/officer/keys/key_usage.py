"""Where a key is still in use: nothing may be left of it when it is retired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.postgres.errors import translated
from consumer.postgres.queries import (
    Sql,
    fill,
    identifier,
    joined,
    load_queries,
    qualified,
)
from consumer.postgres.schema import columns_in

_UNDEFINED_TABLE = "42P01"
_QUERIES = load_queries(__package__, "queries.sql")
_ROWS = _QUERIES["rows"]
_BODIES = _QUERIES["bodies"]
_COUNT = Sql("count(*) FILTER (WHERE starts_with({column}, $1)) AS {column}")


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What is left of a key: rows by masked column, and quarantined bodies sealed under it."""

    rows: Mapping[str, int]
    bodies: int

    def __bool__(self) -> bool:
        return self.bodies > 0 or any(self.rows.values())

    def __str__(self) -> str:
        """Such as `3 rows of masked_ip, 1 quarantined body`; zeros are left out."""
        parts = [
            f"{count:,} {'row' if count == 1 else 'rows'} of {name}"
            for name, count in self.rows.items()
            if count
        ]
        if self.bodies:
            parts.append(f"{self.bodies:,} quarantined {'body' if self.bodies == 1 else 'bodies'}")
        return ", ".join(parts) or "nothing"


async def key_usage(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], kid: str
) -> KeyUsage:
    """Count the tokens and the sealed bodies of the key `kid`, both at one moment.

    `columns` are the masked columns that the model declares; the table may lack optional ones.
    Bodies of all events count. Reads the whole table once.

    Raises:
        DatabaseRefusedError: the table is missing, which proves nothing.
        DatabaseError: as of any statement.
    """
    with translated():
        # One snapshot: a message that moves from the quarantine to the table is counted.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            present = await columns_in(connection, table)
            if not present:
                raise DatabaseRefusedError(_UNDEFINED_TABLE, f"table {table} is missing")
            masked = [name for name in columns if name in present]
            rows: Mapping[str, int] = {}
            if masked:
                (counts,) = await connection.fetch(_count(table, masked), f"{kid}.")
                rows = dict(counts)
            bodies = await connection.fetchval(_BODIES, kid)
    return KeyUsage(rows, bodies)


def _count(table: str, columns: Sequence[str]) -> Sql:
    counts = joined(fill(_COUNT, column=identifier(name)) for name in columns)
    return fill(_ROWS, counts=counts, table=qualified(table))
