"""The masked table as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from consumer.commands.export import copy_out
from consumer.errors import DatabaseRefusedError
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.sink import PostgresSink
from tests.integration.postgres.outcomes import KINDS, USER_LOGINS, WRITE, row

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@pytest.fixture
async def connection(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


async def test_the_csv_holds_each_row_under_a_header(
    any_database: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    rows = [row(user_id='a "quoted", one\nof two lines, €'), row(locale=None), row(locale="")]
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        for one in rows:
            await sink.write([one])
    path = tmp_path / "masked_user_logins.csv"
    assert await copy_out(connection, USER_LOGINS, KINDS, path) == 3
    header, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    assert header == list(KINDS)
    assert lines == [["" if v is None else str(v) for v in one.values] for one in rows]


async def test_an_empty_table_is_a_header(connection: asyncpg.Connection) -> None:
    output = io.BytesIO()
    assert await copy_out(connection, USER_LOGINS, KINDS, output) == 0
    assert output.getvalue().count(b"\n") == 1


class Narrow(io.BytesIO):
    """Takes `limit` bytes and then no more, and remembers the size of the largest piece."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit
        self.largest = 0

    def write(self, data: "ReadableBuffer", /) -> int:
        size = len(memoryview(data))
        self.largest = max(self.largest, size)
        self.left -= size
        if self.left < 0:
            raise BrokenPipeError
        return size


@pytest.fixture
async def large(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(
        "INSERT INTO user_logins (user_id, locale)"
        " SELECT repeat('x', 100), 'RU' FROM generate_series(1, 100000)"
    )
    return connection


async def test_a_large_table_comes_in_small_pieces(large: asyncpg.Connection) -> None:
    output = Narrow(limit=1 << 30)
    assert await copy_out(large, USER_LOGINS, KINDS, output) == 100_000
    assert output.largest < 1 << 20


async def test_an_output_that_takes_no_more_is_the_callers_error(
    large: asyncpg.Connection,
) -> None:
    with pytest.raises(BrokenPipeError):
        await copy_out(large, USER_LOGINS, KINDS, Narrow(limit=1 << 20))


async def test_a_missing_table_is_refused(connection: asyncpg.Connection) -> None:
    await connection.execute("DROP TABLE user_logins CASCADE")
    with pytest.raises(DatabaseRefusedError, match="42P01"):
        await copy_out(connection, USER_LOGINS, KINDS, io.BytesIO())
