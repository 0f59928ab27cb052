"""What the statement alone does; what a sink does is in tests/behaviour/test_sink.py."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from consumer.errors import DataRejectedError
from consumer.events.table import Column, Kind, Table
from consumer.messages import Outcome, Reason, Row, Written
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.queries import Sql, fill, qualified
from consumer.postgres.sink import PostgresSink, WriteStatement
from tests.integration.postgres.outcomes import (
    INTEGER_KINDS,
    KINDS,
    SENT_MS,
    USER_LOGINS,
    WRITE,
    quarantined,
    row,
)


@pytest.fixture
async def sink(any_database: str) -> AsyncIterator[PostgresSink]:
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        yield sink


@pytest.fixture
async def reader(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


async def count(reader: asyncpg.Connection, table: str) -> int:
    statement = fill(Sql("SELECT count(*) FROM {table}"), table=qualified(table))
    number = await reader.fetchval(statement)
    assert isinstance(number, int)
    return number


async def test_a_row_is_written_as_its_values_say(
    sink: PostgresSink, reader: asyncpg.Connection
) -> None:
    written = row(locale=None, user_id="Ω € 🎈", app_version="0.96")
    assert await sink.write([written]) == Written(rows=1, quarantined={}, duplicates=0)
    assert [tuple(found) for found in await reader.fetch("TABLE user_logins")] == [written.values]


async def test_the_same_id_twice_in_the_arrays_is_one_row(
    reader: asyncpg.Connection,
) -> None:
    # What the statement promises by itself, without the sorting and the dict before it.
    slots, ids = "{3,3}", f"{{{', '.join(['00000000-0000-0000-0000-000000000001'] * 2)}}}"
    texts, days = "{a,a}", "{2023-11-14,2023-11-14}"
    arguments = [slots, ids, *([[]] * 7), "user_logins", *([texts] * 6), days]
    (counts,) = await reader.fetch(WRITE.text, *arguments)
    assert counts["rows"] == 1
    assert await count(reader, "user_logins") == 1


async def test_null_stays_null_where_the_database_would_make_a_text_of_it(
    any_database: str, reader: asyncpg.Connection
) -> None:
    name = await reader.fetchval("SELECT current_database()")
    await reader.execute(f"ALTER DATABASE {name} SET array_nulls = off")
    async with PostgresSink(ConnectionSettings(any_database), WRITE) as sink:
        await sink.write([row(locale=None)])
    assert await reader.fetchval("SELECT locale IS NULL FROM user_logins")


async def test_rows_and_quarantined_are_written_in_one_commit(
    sink: PostgresSink, reader: asyncpg.Connection
) -> None:
    late = quarantined(Reason.TOO_LONG, "locale")
    batch: list[Outcome] = [row(), quarantined(), row(), late, quarantined()]
    counts = Written(2, {Reason.NOT_JSON: 2, Reason.TOO_LONG: 1}, 0)
    assert await sink.write(batch) == counts
    transactions = "SELECT xmin FROM user_logins UNION SELECT xmin FROM consumer.quarantine"
    assert len(await reader.fetch(transactions)) == 1
    record = await reader.fetchrow("SELECT * FROM consumer.quarantine WHERE reason = 'too_long'")
    assert record is not None
    assert record["slot"] == late.message.slot
    assert str(record["message_id"]) == late.message.message_id
    assert record["sent_at"].timestamp() * 1000 == SENT_MS
    assert record["event"] == "user_logins"
    assert record["field_name"] == "locale"
    assert (record["kid"], record["sealed_body"]) == ("k1", b"sealed")


async def test_what_is_in_quarantine_stays_once_though_the_ledger_was_lost(
    sink: PostgresSink, reader: asyncpg.Connection
) -> None:
    refused, other = quarantined(), row()
    await sink.write([refused])
    await reader.execute("TRUNCATE consumer.ledger")
    assert await sink.write([refused, other]) == Written(1, {}, 1)
    assert await count(reader, "consumer.quarantine") == 1


@pytest.mark.parametrize(("configured", "at_commit"), [("off", "on"), ("local", "local")])
async def test_a_commit_survives_a_crash_whatever_the_database_is_set_to(
    sink: PostgresSink, reader: asyncpg.Connection, configured: str, at_commit: str
) -> None:
    await reader.execute(
        f"""
        DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET synchronous_commit = {configured}', current_database()
        ); END $$;
        CREATE TABLE seen (synchronous_commit text);
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO public.seen SELECT current_setting('synchronous_commit');
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON user_logins
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
        """
    )
    await sink.write([row()])
    assert await reader.fetchval("SELECT synchronous_commit FROM seen") == at_commit


async def test_an_integer_app_version_column_takes_numbers(
    any_database: str, reader: asyncpg.Connection
) -> None:
    await reader.execute("ALTER TABLE user_logins DROP app_version, ADD app_version integer")
    async with PostgresSink(
        ConnectionSettings(any_database), WriteStatement(USER_LOGINS, INTEGER_KINDS)
    ) as sink:
        await sink.write([row(app_version=2_003_000), row(app_version=None)])
    versions = await reader.fetch("SELECT app_version FROM user_logins ORDER BY 1")
    assert [version[0] for version in versions] == [2_003_000, None]


async def test_any_name_of_table_and_column_will_do(
    any_database: str, reader: asyncpg.Connection
) -> None:
    await reader.execute('CREATE SCHEMA "Ana lytics"')
    await reader.execute('CREATE TABLE "Ana lytics"."log""ins" ("slot" text, "message_id {}" int8)')
    columns = (Column("slot", (Kind.TEXT,)), Column("message_id {}", (Kind.INTEGER,)))
    table = Table('Ana lytics.log"ins', columns)
    kinds = {"slot": Kind.TEXT, "message_id {}": Kind.INTEGER}
    async with PostgresSink(ConnectionSettings(any_database), WriteStatement(table, kinds)) as sink:
        await sink.write([Row(row().message, ("a", 2**40))])
    records = await reader.fetch('TABLE "Ana lytics"."log""ins"')
    assert [tuple(record) for record in records] == [("a", 2**40)]


async def test_an_optional_column_that_is_not_there_is_left_out(
    any_database: str, reader: asyncpg.Connection
) -> None:
    columns = (Column("masked_subnet", (Kind.TEXT,), 64, optional=True), *USER_LOGINS.columns)
    async with PostgresSink(
        ConnectionSettings(any_database), WriteStatement(Table("user_logins", columns), KINDS)
    ) as sink:
        await sink.write([row()])
    assert await count(reader, "user_logins") == 1


@pytest.mark.parametrize("cut", [slice(0, 6), slice(0, 0)])
async def test_a_row_with_too_few_values_is_refused_before_it_is_sent(
    sink: PostgresSink, reader: asyncpg.Connection, cut: slice
) -> None:
    whole = row()
    with pytest.raises(DataRejectedError):
        await sink.write([whole, Row(row().message, whole.values[cut])])
    assert await count(reader, "consumer.ledger") == 0
