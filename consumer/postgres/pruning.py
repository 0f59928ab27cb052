"""Empties the ledger slots whose days are over."""

import asyncpg

from consumer.postgres.errors import translated
from consumer.postgres.queries import load_queries

_PRUNE = load_queries("consumer.postgres", "sql/queries.sql")["prune_ledger"]


async def prune_ledger(connection: asyncpg.Connection) -> tuple[int, ...]:
    """Empty the slots that no message still on the queue can have; return those that were filled.

    The day is the server's, which all replicas share. One replica at a time: another that comes
    meanwhile returns () at once.

    Raises:
        DatabaseRefusedError: this role may not call the function that does it.
        DatabaseError: 55P03 if a slot is in use longer than we wait; try again later.
    """
    with translated():
        return tuple(await connection.fetchval(_PRUNE))
