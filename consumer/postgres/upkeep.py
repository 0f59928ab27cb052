"""Empties the ledger slots whose days are over."""

from datetime import date, timedelta

import asyncpg

from consumer.messages import LEDGER_SLOTS
from consumer.postgres.failures import translated

# SQS keeps a message for 14 days; the rest is for clocks that disagree.
_DAYS_BACK = 16
_DAYS_AHEAD = 1

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('consumer.upkeep', 0))"
_EPOCH = date(1970, 1, 1)


def live_slots(today: date) -> frozenset[int]:
    """The slots of the days that messages still on the queue may have been sent on."""
    days = (today + timedelta(offset) for offset in range(-_DAYS_BACK, _DAYS_AHEAD + 1))
    return frozenset((day - _EPOCH).days % LEDGER_SLOTS for day in days)


async def database_day(connection: asyncpg.Connection) -> date:
    """The UTC day by the server's clock, which all replicas share."""
    with translated():
        day = await connection.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert isinstance(day, date)
    return day


async def truncate_idle_slots(connection: asyncpg.Connection, today: date) -> tuple[int, ...]:
    """Empty the slots that no message of today's can have; return those that were not empty.

    One replica at a time: another that comes meanwhile returns () at once.

    Raises:
        DatabaseError: 55P03 if a slot is in use longer than we wait; try again later.
    """
    emptied = []
    with translated():
        async with connection.transaction():
            if not await connection.fetchval(_LOCK):
                return ()
            # Whoever queues behind TRUNCATE's lock waits as long as TRUNCATE does.
            await connection.execute("SET LOCAL lock_timeout = '500ms'")
            for slot in sorted(set(range(LEDGER_SLOTS)) - live_slots(today)):
                partition = f"consumer.ledger_{slot:02}"
                if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {partition})"):  # noqa: S608 - a number of ours
                    await connection.execute(f"TRUNCATE {partition}")
                    emptied.append(slot)
    return tuple(emptied)
