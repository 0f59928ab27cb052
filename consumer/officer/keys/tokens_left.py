"""Where a key is still in use: what has to be gone before the key may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.postgres.errors import translated
from consumer.postgres.queries import identifier, qualified
from consumer.postgres.schema import columns_in

_UNDEFINED_TABLE = "42P01"
_SEALED = "SELECT count(*) FROM consumer.quarantine WHERE kid = $1"


@dataclass(frozen=True, slots=True)
class TokensLeft:
    """What is left of a key: rows by masked column, and quarantined bodies sealed under it."""

    rows: Mapping[str, int]
    bodies: int

    def __bool__(self) -> bool:
        """Whether anything is."""
        return self.bodies > 0 or any(self.rows.values())

    def __str__(self) -> str:
        """As it is told: `3 rows of masked_ip, 1 quarantined body`; what is empty is left out."""
        parts = [
            f"{count:,} {'row' if count == 1 else 'rows'} of {name}"
            for name, count in self.rows.items()
            if count
        ]
        if self.bodies:
            parts.append(f"{self.bodies:,} quarantined {'body' if self.bodies == 1 else 'bodies'}")
        return ", ".join(parts) or "nothing"


async def tokens_left(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], kid: str
) -> TokensLeft:
    """Count what was masked or sealed under the key `kid` and is there still.

    `columns` are the masked columns that the model declares; of these the table may lack optional
    ones. Bodies count whatever event they were of. Reads the whole table, once. Both counts are of
    one moment.

    Raises:
        DatabaseRefusedError: the table is missing, so nothing is proved.
        DatabaseError: as of any statement.
    """
    with translated():
        # One snapshot: what moves between the table and the quarantine is not missed.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            present = await columns_in(connection, table)
            if not present:
                raise DatabaseRefusedError(_UNDEFINED_TABLE, f"table {table} is missing")
            masked = [name for name in columns if name in present]
            rows: Mapping[str, int] = {}
            if masked:
                (counts,) = await connection.fetch(_count(table, masked), f"{kid}.")
                rows = dict(counts)
            bodies = await connection.fetchval(_SEALED, kid)
    return TokensLeft(rows, bodies)


def _count(table: str, columns: Sequence[str]) -> str:
    counts = (
        f"count(*) FILTER (WHERE starts_with({identifier(name)}, $1)) AS {identifier(name)}"
        for name in columns
    )
    return f"SELECT {', '.join(counts)} FROM {qualified(table)}"  # noqa: S608 quoted names alone
