"""The rows of subjects, and the erasure list: hashes of the subjects that were erased."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.queries import identifier, qualified

_ADD_TO_LIST = """
    INSERT INTO consumer.erased (column_name, kid, person_hash, erased_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
    ON CONFLICT DO NOTHING
"""
_LIST = """
    SELECT column_name, kid, person_hash, erased_at FROM consumer.erased
    ORDER BY erased_at, column_name, kid, person_hash
"""
_NOW = "SELECT now()"
_DELETE = "DELETE FROM {table} WHERE {column}::text = ANY ($1::text[])"
_SUBJECTS = "SELECT DISTINCT {column}::text FROM {table} WHERE {column} IS NOT NULL"
_ROWS_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class ErasureEntry:
    """The hash of an erased subject of `column`, under the key `kid`."""

    column: str
    kid: str
    subject_hash: bytes = field(repr=False)
    erased_at: datetime


async def erasure_list(connection: asyncpg.Connection) -> list[ErasureEntry]:
    """All entries, oldest first; raises DatabaseError."""
    with translated():
        return [ErasureEntry(*record) for record in await connection.fetch(_LIST)]


async def add_to_erasure_list(
    connection: asyncpg.Connection, entries: Sequence[ErasureEntry]
) -> None:
    """Add the entries that are not on the list yet; raises DatabaseError."""
    with translated():
        await connection.execute(
            _ADD_TO_LIST,
            [entry.column for entry in entries],
            [entry.kid for entry in entries],
            [entry.subject_hash for entry in entries],
            [entry.erased_at for entry in entries],
        )


async def now(connection: asyncpg.Connection) -> datetime:
    """The server's time; raises DatabaseError."""
    with translated():
        moment = await connection.fetchval(_NOW)
    assert isinstance(moment, datetime)
    return moment


async def delete_rows(
    connection: asyncpg.Connection, table: str, column: str, subjects: Collection[str]
) -> int:
    """Delete all rows of these subjects and return their number; raises DatabaseError."""
    statement = _DELETE.format(table=qualified(table), column=identifier(column))
    with translated():
        status = await connection.execute(statement, list(subjects))
    return int(status.rsplit(" ", 1)[-1])


async def subjects_in(
    connection: asyncpg.Connection, table: str, column: str
) -> AsyncIterator[str]:
    """Each subject that a table has rows of; call it in a transaction. Raises DatabaseError."""
    query = _SUBJECTS.format(table=qualified(table), column=identifier(column))
    with translated(DRIVER_FAILURES):
        async for (subject,) in connection.cursor(query, prefetch=_ROWS_AT_A_TIME):
            yield subject
