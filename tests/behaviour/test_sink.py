"""What one write does: by PostgreSQL and in memory alike."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import pytest

from consumer.errors import DataRejectedError
from consumer.messages import Outcome, Reason, Row, Written
from consumer.pipeline.ports import Sink
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.sink import PostgresSink
from tests.databases import Databases
from tests.fakes.database import MemoryDatabase
from tests.history.evidence import contents_of
from tests.history.steps import DatabaseContents, QuarantineRow
from tests.integration.postgres.outcomes import KINDS, USER_LOGINS, WRITE, again, quarantined, row

_LOCALE = list(KINDS).index("locale")
_REFUSED = "XX"
_CONSTRAINT = "known_locale"


class DatabaseUnderTest(Protocol):
    """A database whose table has a CHECK constraint against the locale XX."""

    @property
    def sink(self) -> Sink: ...

    async def contents(self) -> DatabaseContents: ...


@dataclass
class Fake:
    memory: MemoryDatabase

    @property
    def sink(self) -> Sink:
        return self.memory

    async def contents(self) -> DatabaseContents:
        return self.memory.contents()


@dataclass
class Real:
    sink: Sink
    reader: asyncpg.Connection

    async def contents(self) -> DatabaseContents:
        return await contents_of(self.reader, USER_LOGINS, KINDS)


@asynccontextmanager
async def real(dsn: str) -> AsyncIterator[Real]:
    async with (
        connected(ConnectionSettings(dsn)) as reader,
        PostgresSink(ConnectionSettings(dsn), WRITE) as sink,
    ):
        check = f"CHECK (locale <> '{_REFUSED}')"
        await reader.execute(f"ALTER TABLE user_logins ADD CONSTRAINT {_CONSTRAINT} {check}")
        yield Real(sink, reader)


@pytest.fixture(
    params=["fake", "databases", "other_databases"], ids=["fake", "real", "real, another version"]
)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[DatabaseUnderTest]:
    if request.param == "fake":
        yield Fake(
            MemoryDatabase(
                refuses=lambda row: row.values[_LOCALE] == _REFUSED, constraint=_CONSTRAINT
            )
        )
        return
    databases: Databases = request.getfixturevalue(request.param)
    async with databases.migrated() as dsn, real(dsn) as opened:
        yield opened


async def assert_holds(database: DatabaseUnderTest, *outcomes: Outcome) -> None:
    """The database holds these outcomes, each once, and nothing else."""
    held = await database.contents()
    rows = [each.values for each in outcomes if isinstance(each, Row)]
    assert sorted(map(repr, held.rows)) == sorted(map(repr, rows))
    assert sorted(held.ledger) == sorted(each.message.message_id for each in outcomes)
    refused = {QuarantineRow.of(each) for each in outcomes if not isinstance(each, Row)}
    quarantine = list(held.quarantine)
    assert set(quarantine) == refused
    assert len(quarantine) == len(refused)


async def test_a_batch_is_written_and_counted(database: DatabaseUnderTest) -> None:
    batch: list[Outcome] = [
        row(),
        quarantined(Reason.TOO_LONG, "locale"),
        row(),
        quarantined(),
        quarantined(),
    ]
    written = await database.sink.write(batch)
    assert written == Written(2, {Reason.TOO_LONG: 1, Reason.NOT_JSON: 2}, 0)
    await assert_holds(database, *batch)


async def test_an_empty_batch_is_nothing(database: DatabaseUnderTest) -> None:
    assert await database.sink.write([]) == Written(0, {}, 0)
    await assert_holds(database)


async def test_a_redelivered_message_changes_nothing(database: DatabaseUnderTest) -> None:
    first, second, refused, fresh = row(), row(), quarantined(), row()
    await database.sink.write([first, second, refused])
    redelivered: list[Outcome] = [again(second), fresh, refused, again(first)]
    assert await database.sink.write(redelivered) == Written(1, {}, 3)
    await assert_holds(database, first, second, refused, fresh)


async def test_a_message_twice_in_a_batch_is_written_once(database: DatabaseUnderTest) -> None:
    first, refused = row(), quarantined()
    batch: list[Outcome] = [first, refused, again(first), refused]
    assert await database.sink.write(batch) == Written(1, {Reason.NOT_JSON: 1}, 2)
    await assert_holds(database, first, refused)


async def test_two_messages_with_equal_values_are_two_rows(database: DatabaseUnderTest) -> None:
    first = row()
    second = Row(row().message, first.values)
    assert await database.sink.write([first, second]) == Written(2, {}, 0)
    await assert_holds(database, first, second)


async def test_a_message_that_is_a_row_is_not_quarantined_later(
    database: DatabaseUnderTest,
) -> None:
    first = row()
    await database.sink.write([first])
    later = quarantined(Reason.REJECTED_BY_DATABASE)
    moved = type(later)(first.message, later.reason, None, later.kid, later.sealed_body)
    assert await database.sink.write([moved]) == Written(0, {}, 1)
    await assert_holds(database, first)


async def test_a_refused_row_refuses_its_batch_whole_and_names_the_constraint(
    database: DatabaseUnderTest,
) -> None:
    batch: list[Outcome] = [row(), row(locale=_REFUSED), quarantined()]
    with pytest.raises(DataRejectedError) as refused:
        await database.sink.write(batch)
    assert (refused.value.sqlstate, refused.value.column) == ("23514", _CONSTRAINT)
    await assert_holds(database)


async def test_a_refused_row_whose_message_is_written_already_is_a_duplicate(
    database: DatabaseUnderTest,
) -> None:
    written_before = row()
    await database.sink.write([written_before])
    values = list(written_before.values)
    values[_LOCALE] = _REFUSED
    written = await database.sink.write([Row(written_before.message, tuple(values))])
    assert written == Written(0, {}, 1)
    await assert_holds(database, written_before)


async def test_writers_with_the_same_messages_in_other_orders_write_each_once(
    database: DatabaseUnderTest,
) -> None:
    outcomes: list[Outcome] = [row() for _ in range(300)] + [quarantined() for _ in range(30)]
    shuffled = random.Random(7).sample  # noqa: S311 - not for secrets
    batches = [outcomes[:200], *(shuffled(outcomes, 200) for _ in range(38)), outcomes[130:]]
    written = await asyncio.gather(*(database.sink.write(batch) for batch in batches))
    assert sum(each.rows + sum(each.quarantined.values()) for each in written) == 330
    assert sum(each.duplicates for each in written) == 40 * 200 - 330
    await assert_holds(database, *outcomes)
