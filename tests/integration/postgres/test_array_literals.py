"""Array literals, as PostgreSQL itself reads them."""

from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from consumer.errors import DataRejectedError
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.sink import array_literal

STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# The connection is as good after an example as before it.
ONE_CONNECTION = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def connection(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


@ONE_CONNECTION
@given(st.lists(st.none() | STORABLE))
@example(["", " ", "null", "NULL", None, "{}", ",", '"', "'", "\\", "\\\\n", '\\"'])
@example(["\n", "\\n", "\t\b\f\r\x01\x1f\x7f", "n\\\n\\", "\\u000a", "é\u2028😀"])
async def test_texts_arrive_as_they_were(
    connection: asyncpg.Connection, texts: list[str | None]
) -> None:
    assert await connection.fetchval("SELECT $1::text::text[]", array_literal(texts)) == texts


@ONE_CONNECTION
@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
async def test_numbers_arrive_as_they_were(
    connection: asyncpg.Connection, numbers: list[int | None]
) -> None:
    assert await connection.fetchval("SELECT $1::text::bigint[]", array_literal(numbers)) == numbers


@ONE_CONNECTION
@given(st.lists(st.none() | st.dates()))
async def test_days_arrive_as_they_were(
    connection: asyncpg.Connection, days: list[date | None]
) -> None:
    assert await connection.fetchval("SELECT $1::text::date[]", array_literal(days)) == days


def test_a_lone_surrogate_is_refused_and_not_quoted() -> None:
    with pytest.raises(DataRejectedError) as caught:
        array_literal(["a", "secret \ud800"])
    assert caught.value.sqlstate == "22021"
    assert caught.value.__context__ is None
