"""The ring of ledger slots over the days."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from consumer.messages import LEDGER_SLOTS, Row
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import prune_ledger
from consumer.postgres.sink import PostgresSink
from tests.integration.postgres.outcomes import WRITE, message, row

FIRST_DAY = date(2024, 2, 10)


@pytest.fixture
async def connection(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


def sent_on(day: date) -> Row:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return Row(message(int(noon.timestamp() * 1000)), row().values)


async def truncate_on(connection: asyncpg.Connection, day: date) -> tuple[int, ...]:
    """As `truncate_idle_slots`, on a day of our choice."""
    return tuple(await connection.fetchval("SELECT consumer.truncate_slots_idle_on($1)", day))


async def slots(connection: asyncpg.Connection) -> set[int]:
    return {record[0] for record in await connection.fetch("SELECT slot FROM consumer.ledger")}


async def test_over_forty_days_a_slot_is_emptied_before_its_day_comes_round_again(
    any_database: str, connection: asyncpg.Connection
) -> None:
    sent: dict[date, Row] = {}
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        for offset in range(40):
            today = FIRST_DAY + timedelta(offset)
            sent[today] = sent_on(today)
            assert (await sink.write([sent[today]])).rows == 1
            emptied = await truncate_on(connection, today)
            assert len(emptied) == (1 if offset > 16 else 0)
            live = [day for day in sent if (today - day).days <= 16]
            assert await slots(connection) == {sent[day].message.slot for day in live}
            oldest = sent[max(FIRST_DAY, today - timedelta(15))]
            assert (await sink.write([oldest])).duplicates == 1


async def test_a_full_ring_keeps_the_18_days_that_messages_may_still_have_been_sent_on(
    any_database: str, connection: asyncpg.Connection
) -> None:
    days = [FIRST_DAY + timedelta(offset) for offset in range(LEDGER_SLOTS)]
    today = days[16]
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        await sink.write([sent_on(day) for day in days])
    await truncate_on(connection, today)
    live = {sent_on(today + timedelta(offset)).message.slot for offset in range(-16, 2)}
    assert len(live) == 18
    assert await slots(connection) == live


async def test_only_one_replica_truncates(
    any_database: str, connection: asyncpg.Connection
) -> None:
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        await sink.write([sent_on(FIRST_DAY)])

    async def truncate() -> tuple[int, ...]:
        async with connected(ConnectionSettings(any_database)) as other:
            return await truncate_on(other, FIRST_DAY + timedelta(20))

    emptied = await asyncio.gather(*(truncate() for _ in range(4)))
    assert sorted(emptied) == [(), (), (), (sent_on(FIRST_DAY).message.slot,)]
    assert await slots(connection) == set()


async def test_a_slot_in_use_is_left_for_later(
    any_database: str, connection: asyncpg.Connection
) -> None:
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        await sink.write([sent_on(FIRST_DAY)])
    later = FIRST_DAY + timedelta(20)
    async with connected(ConnectionSettings(any_database)) as other:
        async with connection.transaction():
            await connection.execute("LOCK TABLE consumer.ledger IN ACCESS SHARE MODE")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await truncate_on(other, later)
        assert len(await truncate_on(other, later)) == 1


async def test_the_day_is_that_of_the_server_in_utc(
    any_database: str, connection: asyncpg.Connection
) -> None:
    day: date = await connection.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    live, idle = (sent_on(day + timedelta(offset)) for offset in (1, 2))
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        await sink.write([live, idle])
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        await connection.execute(f"SET TimeZone = '{zone}'")
        assert await prune_ledger(connection) in ((idle.message.slot,), ())
    assert await slots(connection) == {live.message.slot}
