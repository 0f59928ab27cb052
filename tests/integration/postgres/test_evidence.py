"""The checker over a real PostgreSQL: what it reads there is what was committed, and when."""

import random
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from consumer.messages import Outcome
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.sink import PostgresSink
from tests.history.checker import Kind, Verdict, check
from tests.history.evidence import commits, contents_of
from tests.history.marked import Marks, marked_bodies
from tests.history.steps import Entry, Left, Sent, Step, merged
from tests.integration.postgres.outcomes import KINDS, USER_LOGINS, WRITE, message
from tests.unit.history.runs import RULES


@pytest.fixture
async def sink(database: str) -> AsyncIterator[PostgresSink]:
    async with PostgresSink(ConnectionSettings(database), WRITE) as sink:
        yield sink


@pytest.fixture
async def reader(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(database)) as connection:
        yield connection


def messages(count: int) -> list[Sent]:
    rng = random.Random(3)  # noqa: S311 - not for secrets
    bodies = marked_bodies(rng, Marks(rng), count, invalid_share=0.3)
    return [Sent(message().message_id, body, message().sent_ms) for body in bodies]


def outcomes(sent: list[Sent]) -> list[Outcome]:
    return [RULES.expect(each.message()) for each in sent]


async def judged(
    reader: asyncpg.Connection, sent: list[Sent], deletes: Sequence[Entry] = ()
) -> Verdict:
    return check(
        rules=RULES,
        sent=sent,
        history=merged(await commits(reader), deletes),
        contents=await contents_of(reader, USER_LOGINS, KINDS),
        left=Left(),
    )


def deleted(messages: list[Sent]) -> list[Entry]:
    return [Entry(Step.DELETED, each.message_id, at=time.time()) for each in messages]


async def test_what_the_sink_writes_passes(sink: PostgresSink, reader: asyncpg.Connection) -> None:
    first, second = messages(30), messages(30)
    await sink.write(outcomes(first))
    deletes = deleted(first)
    await sink.write(outcomes(first[:7] + second))
    verdict = await judged(reader, first + second, deletes + deleted(second))
    assert verdict.kept, verdict
    steps = {each.step for each in await commits(reader)}
    assert steps == {Step.COMMITTED, Step.QUARANTINED}


async def test_a_delete_before_the_commit_is_seen_by_the_clock(
    sink: PostgresSink, reader: asyncpg.Connection
) -> None:
    sent = messages(5)
    deletes = deleted(sent)
    await sink.write(outcomes(sent))
    verdict = await judged(reader, sent, deletes)
    assert verdict.kinds == {Kind.DELETED_BEFORE_COMMITTED}
    assert verdict.count(Kind.DELETED_BEFORE_COMMITTED) == 5


async def test_a_changed_a_missing_and_a_second_row_are_seen(
    sink: PostgresSink, reader: asyncpg.Connection
) -> None:
    sent = messages(30)
    await sink.write(outcomes(sent))
    await reader.execute("INSERT INTO user_logins SELECT * FROM user_logins LIMIT 1")
    assert (await judged(reader, sent)).kinds == {Kind.DUPLICATED}
    await reader.execute("UPDATE user_logins SET device_type = 'x' WHERE device_type = 'ios'")
    assert Kind.WRONG_CONTENT in (await judged(reader, sent)).kinds
    await reader.execute("TRUNCATE user_logins, consumer.quarantine")
    assert (await judged(reader, sent)).count(Kind.LOST) == 30
