"""The rows of subjects, and the erasure list: hashes of the subjects that were erased."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.queries import fill, identifier, load_queries, qualified

_QUERIES = load_queries(__package__, "queries.sql")
_ADD_TO_LIST = _QUERIES["add_to_list"]
_LIST = _QUERIES["list"]
_NOW = _QUERIES["now"]
_DELETE_ROWS = _QUERIES["delete_rows"]
_SUBJECTS = _QUERIES["subjects"]
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
    statement = fill(_DELETE_ROWS, table=qualified(table), column=identifier(column))
    with translated():
        status = await connection.execute(statement, list(subjects))
    return int(status.rsplit(" ", 1)[-1])


async def subjects_in(
    connection: asyncpg.Connection, table: str, column: str
) -> AsyncIterator[str]:
    """Each subject that a table has rows of; call it in a transaction. Raises DatabaseError."""
    query = fill(_SUBJECTS, table=qualified(table), column=identifier(column))
    with translated(DRIVER_FAILURES):
        async for (subject,) in connection.cursor(query, prefetch=_ROWS_AT_A_TIME):
            yield subject
