"""Deletes persons' rows, and remembers by hashes that they are to stay deleted."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.queries import identifier, qualified

_REMEMBER = """
    INSERT INTO consumer.erased (column_name, kid, person_hash, erased_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
    ON CONFLICT DO NOTHING
"""
_ERASED = """
    SELECT column_name, kid, person_hash, erased_at FROM consumer.erased
    ORDER BY erased_at, column_name, kid, person_hash
"""
_NOW = "SELECT now()"
_DELETE = "DELETE FROM {table} WHERE {column}::text = ANY ($1::text[])"
_PERSONS = "SELECT DISTINCT {column}::text FROM {table} WHERE {column} IS NOT NULL"
_ROWS_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Erased:
    """An entry of the erasure list: the hash of a person of a column, under the key `kid`."""

    column: str
    kid: str
    person_hash: bytes = field(repr=False)
    erased_at: datetime


async def erased(connection: asyncpg.Connection) -> list[Erased]:
    """The erasure list, oldest first; raises DatabaseError."""
    with translated():
        return [Erased(*record) for record in await connection.fetch(_ERASED)]


async def remember(connection: asyncpg.Connection, entries: Sequence[Erased]) -> None:
    """Put on the list what is not on it; raises DatabaseError."""
    with translated():
        await connection.execute(
            _REMEMBER,
            [entry.column for entry in entries],
            [entry.kid for entry in entries],
            [entry.person_hash for entry in entries],
            [entry.erased_at for entry in entries],
        )


async def now(connection: asyncpg.Connection) -> datetime:
    """The server's time; raises DatabaseError."""
    with translated():
        moment = await connection.fetchval(_NOW)
    assert isinstance(moment, datetime)
    return moment


async def delete_rows(
    connection: asyncpg.Connection, table: str, column: str, persons: Collection[str]
) -> int:
    """Delete all rows of these persons and return how many there were; raises DatabaseError."""
    statement = _DELETE.format(table=qualified(table), column=identifier(column))
    with translated():
        status = await connection.execute(statement, list(persons))
    return int(status.rsplit(" ", 1)[-1])


async def persons(connection: asyncpg.Connection, table: str, column: str) -> AsyncIterator[str]:
    """Each person that a table has rows of; in a transaction. Raises DatabaseError."""
    query = _PERSONS.format(table=qualified(table), column=identifier(column))
    with translated(DRIVER_FAILURES):
        async for (person,) in connection.cursor(query, prefetch=_ROWS_AT_A_TIME):
            yield person
