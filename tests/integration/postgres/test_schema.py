"""Making the schema, and looking at what is there."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.errors import DatabaseRefusedError
from consumer.events.table import Column, Kind, Table
from consumer.messages import Written
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.inspect import inspect, inspect_table
from consumer.postgres.schema import migrate
from consumer.postgres.sink import PostgresSink, WriteStatement
from tests.databases import Databases
from tests.integration.postgres.outcomes import (
    INTEGER_KINDS,
    KINDS,
    USER_LOGINS,
    WRITE,
    quarantined,
    row,
)


@pytest.fixture
async def empty(any_empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_empty_database)) as connection:
        yield connection


@pytest.fixture
async def admin(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


async def columns(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    records = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'user_logins'::regclass AND attnum > 0 ORDER BY attnum"
    )
    return [(record[0], record[1]) for record in records]


async def test_migrate_makes_all_that_writing_needs(
    any_empty_database: str, empty: asyncpg.Connection
) -> None:
    lines = await migrate(empty, USER_LOGINS)
    assert lines[0] == "created schema consumer"
    assert lines[-1] == "created table user_logins"
    assert await inspect_table(empty, USER_LOGINS) == KINDS
    async with PostgresSink(ConnectionSettings(any_empty_database), WRITE) as sink:
        assert (await sink.write([row(), quarantined()])).rows == 1
    assert await columns(empty) == [
        ("user_id", "character varying(128)"),
        ("device_type", "character varying(32)"),
        ("masked_ip", "character varying(256)"),
        ("masked_device_id", "character varying(256)"),
        ("locale", "character varying(32)"),
        ("app_version", "character varying(32)"),
        ("create_date", "date"),
    ]


async def test_migrate_again_does_nothing(admin: asyncpg.Connection) -> None:
    assert await migrate(admin, USER_LOGINS) == ()


async def test_a_role_called_as_our_schema_makes_the_table_where_analysts_look(
    empty: asyncpg.Connection,
) -> None:
    # What the default, "$user", public, is for a role called consumer.
    await empty.execute("SET search_path = consumer, public")
    await migrate(empty, USER_LOGINS)
    schema = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'user_logins'"
    assert await empty.fetchval(schema) == "public"
    assert await inspect_table(empty, USER_LOGINS) == KINDS


async def test_eight_migrating_at_once_do_it_once(any_empty_database: str) -> None:
    async def one() -> tuple[str, ...]:
        async with connected(ConnectionSettings(any_empty_database)) as connection:
            return await migrate(connection, USER_LOGINS)

    lines = await asyncio.gather(*(one() for _ in range(8)))
    assert sorted(map(bool, lines)) == [False] * 7 + [True]


async def test_migrate_never_alters_a_table_that_is_there(empty: asyncpg.Connection) -> None:
    await empty.execute("CREATE TABLE user_logins (app_version integer, note varchar(3))")
    await empty.execute("INSERT INTO user_logins VALUES (1, 'abc')")
    lines = await migrate(empty, USER_LOGINS)
    assert "created table user_logins" not in lines
    assert await columns(empty) == [("app_version", "integer"), ("note", "character varying(3)")]
    assert await empty.fetchval("SELECT count(*) FROM user_logins") == 1


async def test_a_failing_migration_leaves_nothing(empty: asyncpg.Connection) -> None:
    table = Table("no_such_schema.logins", USER_LOGINS.columns)
    with pytest.raises(DatabaseRefusedError, match="3F000"):
        await migrate(empty, table)
    assert await empty.fetchval("SELECT to_regnamespace('consumer')") is None


async def test_a_database_of_a_newer_release_is_refused(admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO consumer.migrations (number, name) VALUES (9999, 'later')")
    with pytest.raises(DatabaseRefusedError, match="version 9999"):
        await migrate(admin, USER_LOGINS)
    with pytest.raises(DatabaseRefusedError, match="run a newer release"):
        await inspect_table(admin, USER_LOGINS)


async def test_an_older_database_has_to_be_migrated(admin: asyncpg.Connection) -> None:
    await admin.execute("TRUNCATE consumer.migrations")
    with pytest.raises(DatabaseRefusedError, match="run `consumer migrate`"):
        await inspect_table(admin, USER_LOGINS)


@pytest.mark.usefixtures("plain_role")
async def test_a_role_without_rights_to_create_may_find_nothing_to_do(
    admin: asyncpg.Connection,
) -> None:
    assert await migrate(admin, USER_LOGINS) == ()


async def test_inspection_tells_integer_from_text(admin: asyncpg.Connection) -> None:
    await admin.execute("ALTER TABLE user_logins DROP app_version, ADD app_version integer")
    assert await inspect_table(admin, USER_LOGINS) == INTEGER_KINDS
    await admin.execute("ALTER TABLE user_logins ALTER app_version TYPE bigint")
    assert await inspect_table(admin, USER_LOGINS) == INTEGER_KINDS


async def test_inspection_of_a_good_database_finds_a_line_for_each_column(
    admin: asyncpg.Connection,
) -> None:
    inspection = await inspect(admin, USER_LOGINS)
    assert all(finding.ok and not finding.advice for finding in inspection.findings)
    assert len(inspection.findings) == 1 + len(KINDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "DROP TABLE user_logins CASCADE",
            "42P01 (table user_logins is missing: run `consumer migrate`)",
        ),
        ("DROP SCHEMA consumer CASCADE", "3F000 (schema consumer is missing: run"),
        ("DROP TABLE consumer.quarantine", "42P01 (schema consumer lacks tables: restore these"),
        ("ALTER TABLE user_logins DROP locale", "42703 (column user_logins.locale is missing: add"),
        (
            "ALTER TABLE user_logins ALTER locale TYPE varchar(31)",
            "22001 (column user_logins.locale holds 31 characters: make it varchar(32))",
        ),
        (
            "ALTER TABLE user_logins ALTER locale TYPE char(40)",
            "42804 (column user_logins.locale is bpchar: make it varchar(32))",
        ),
        (
            "ALTER TABLE user_logins DROP app_version, ADD app_version date",
            "42804 (column user_logins.app_version is date: make it varchar(32) or integer)",
        ),
        (
            "ALTER TABLE user_logins DROP locale, ADD locale text GENERATED ALWAYS AS ('') STORED",
            "428C9 (column user_logins.locale is generated: make it a plain column)",
        ),
        (
            "ALTER TABLE user_logins ADD note text NOT NULL",
            "23502 (column user_logins.note is NOT NULL without a default",
        ),
    ],
)
async def test_inspection_refuses_with_one_line(
    admin: asyncpg.Connection, change: str, message: str
) -> None:
    await admin.execute(change)
    with pytest.raises(DatabaseRefusedError) as caught:
        await inspect_table(admin, USER_LOGINS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_of_another_encoding_is_neither_migrated_nor_passed(
    any_databases: Databases, encoding: str
) -> None:
    options = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
    async with (
        any_databases.empty(options) as dsn,
        connected(ConnectionSettings(dsn)) as connection,
    ):
        with pytest.raises(DatabaseRefusedError) as caught:
            await migrate(connection, USER_LOGINS)
        message = f"the database's encoding is {encoding}: create one with ENCODING 'UTF8'"
        assert str(caught.value) == f"database: 22P05 ({message})"
        inspection = await inspect(connection, USER_LOGINS)
    failures = [f"{each.what}: {each.advice}" for each in inspection.findings if not each.ok]
    assert message in failures


async def test_inspection_refuses_a_database_that_takes_null_for_a_text(
    any_database: str, admin: asyncpg.Connection
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET array_nulls = off")
    async with connected(
        ConnectionSettings(any_database, statement_cache_size=0)
    ) as as_through_pgbouncer:
        with pytest.raises(DatabaseRefusedError, match="array_nulls is off"):
            await inspect_table(as_through_pgbouncer, USER_LOGINS)
    async with connected(ConnectionSettings(any_database)) as connection:
        assert await inspect_table(connection, USER_LOGINS) == KINDS


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE user_logins ALTER locale TYPE varchar(64), ALTER device_type TYPE text",
        "ALTER TABLE user_logins ALTER locale TYPE varchar",
        "ALTER TABLE user_logins ADD note text NOT NULL DEFAULT 'none'",
        "ALTER TABLE user_logins ADD id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    ],
)
async def test_inspection_lets_pass_what_can_be_written(
    any_database: str, admin: asyncpg.Connection, change: str
) -> None:
    await admin.execute(change)
    kinds = await inspect_table(admin, USER_LOGINS)
    assert kinds == KINDS
    async with PostgresSink(
        ConnectionSettings(any_database), WriteStatement(USER_LOGINS, kinds)
    ) as sink:
        assert await sink.write([row()]) == Written(1, {}, 0)


async def test_a_not_null_column_of_the_event_is_a_hint(admin: asyncpg.Connection) -> None:
    await admin.execute("ALTER TABLE user_logins ALTER locale SET NOT NULL")
    inspection = await inspect(admin, USER_LOGINS)
    hints = [finding.advice for finding in inspection.findings if finding.advice]
    assert hints == ["it is NOT NULL: events without it are quarantined"]
    inspection.raise_first_failure()


async def test_an_optional_column_may_be_missing(admin: asyncpg.Connection) -> None:
    extra = Column("masked_subnet", (Kind.TEXT,), 64, optional=True)
    table = Table("user_logins", (*USER_LOGINS.columns, extra))
    assert await inspect_table(admin, table) == KINDS
    await admin.execute("ALTER TABLE user_logins ADD masked_subnet text")
    assert await inspect_table(admin, table) == {**KINDS, "masked_subnet": Kind.TEXT}


@pytest.fixture
async def plain_role(any_database: str, admin: asyncpg.Connection) -> AsyncIterator[None]:
    """Take on a role that owns nothing; the role lives on the server, so it is dropped again."""
    name = f"role_{urlsplit(any_database).path[1:]}"
    await admin.execute(f"CREATE ROLE {name}; GRANT USAGE ON SCHEMA public TO {name}")
    await admin.execute(f"GRANT USAGE ON SCHEMA consumer TO {name}")
    await admin.execute(f"GRANT SELECT ON consumer.migrations TO {name}; SET ROLE {name}")
    yield
    await admin.execute(f"RESET ROLE; DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.mark.usefixtures("plain_role")
async def test_each_missing_right_is_named_until_all_are_granted(admin: asyncpg.Connection) -> None:
    role = await admin.fetchval("SELECT current_user")

    async def refused_then(grant: str) -> str:
        with pytest.raises(DatabaseRefusedError) as caught:
            await inspect_table(admin, USER_LOGINS)
        await admin.execute("RESET ROLE")
        await admin.execute(f"{grant} TO {role}; SET ROLE {role}")
        return str(caught.value)

    rights = "INSERT, SELECT ON ALL TABLES IN SCHEMA consumer"
    refusal = await refused_then(f"GRANT {rights}")
    assert "INSERT ON ledger" in refusal
    assert "SELECT (reason) ON quarantine" in refusal
    refusal = await refused_then("GRANT INSERT (user_id) ON user_logins")
    assert "this role may not write column user_logins.user_id: GRANT INSERT" in refusal
    assert "user_logins.device_type" in await refused_then("GRANT INSERT ON user_logins")
    assert await inspect_table(admin, USER_LOGINS) == KINDS
    await admin.fetch(WRITE.text, *WRITE.parameters([]))


@pytest.mark.usefixtures("plain_role")
async def test_a_role_that_may_not_use_the_schema_is_refused(
    any_database: str, admin: asyncpg.Connection
) -> None:
    role = await admin.fetchval("SELECT current_user")
    async with connected(ConnectionSettings(any_database)) as other:
        await other.execute(f"REVOKE USAGE ON SCHEMA consumer FROM {role}")
    with pytest.raises(DatabaseRefusedError, match="GRANT USAGE ON SCHEMA consumer"):
        await inspect_table(admin, USER_LOGINS)
