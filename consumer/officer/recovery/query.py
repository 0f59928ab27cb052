"""An operator's own query."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.postgres.errors import DRIVER_FAILURES, sqlstate_of, translated

_ROWS_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gives: the columns' names, and the rows as texts, NULL as an empty one."""

    columns: Sequence[str]
    rows: AsyncIterator[list[str]]


@asynccontextmanager
async def answer_of(connection: asyncpg.Connection, query: str) -> AsyncIterator[Answer]:
    """Run a query in a read-only transaction; memory does not grow with its answer.

    Raises:
        DatabaseRefusedError: it is no query, or names what is not there or not allowed.
        DatabaseError: 25006 if it would write; others as of any statement.
    """
    with translated(DRIVER_FAILURES):
        async with connection.transaction(readonly=True):
            with _told_as_the_querys_fault():
                statement = await connection.prepare(query)
            columns = [attribute.name for attribute in statement.get_attributes()]
            yield Answer(columns, _rows(aiter(statement.cursor(prefetch=_ROWS_AT_A_TIME))))


async def _rows(cursor: AsyncIterator[asyncpg.Record]) -> AsyncIterator[list[str]]:
    with _told_as_the_querys_fault():
        async for record in cursor:
            yield [_text(value) for value in record]


@contextmanager
def _told_as_the_querys_fault() -> Iterator[None]:
    """Advise on the query where advice on our own statements would mislead."""
    try:
        yield
    except (asyncpg.SyntaxOrAccessError, asyncpg.ReadOnlySQLTransactionError) as failure:
        advice = "the query: it may only read, and only what is there and this role may"
        raise DatabaseRefusedError(sqlstate_of(failure) or "", advice) from None


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)
