"""What each way to fail becomes, and that nothing of the data leaks through it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    StatementTooSlowError,
)
from consumer.messages import ColumnValue, Written
from consumer.postgres.connection import ConnectionSettings, connect, connected
from consumer.postgres.errors import translated
from consumer.postgres.sink import PostgresSink, WriteStatement
from tests.databases import Databases, as_role, login_of
from tests.integration.postgres.outcomes import INTEGER_KINDS, USER_LOGINS, WRITE, row
from tests.waiting import eventually

SECRET = "199.172.111.135"


@pytest.fixture
async def admin(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


@pytest.fixture
async def sink(any_database: str) -> AsyncIterator[PostgresSink]:
    settings = ConnectionSettings(any_database, statement_timeout_seconds=5)
    async with PostgresSink(settings, WRITE) as sink:
        yield sink


def reachable(error: BaseException | None) -> str:
    """All the text that a log could show of an error and of those before it."""
    if error is None:
        return ""
    own = f"{error!s} {error!r} {error.args!r} {vars(error)!r}"
    return own + reachable(error.__cause__) + reachable(error.__context__)


@pytest.mark.parametrize(
    ("change", "values", "sqlstate", "column"),
    [
        ("ADD CONSTRAINT known CHECK (locale <> 'XX')", {"locale": "XX"}, "23514", "known"),
        ("ALTER locale SET NOT NULL", {"locale": None}, "23502", "locale"),
        ("ADD CONSTRAINT once UNIQUE (locale)", {}, "23505", "once"),
        ("ALTER locale TYPE varchar(2)", {"locale": "RUS"}, "22001", None),
        ("ALTER locale TYPE text", {"locale": "\x00"}, "22021", None),
        ("ALTER locale TYPE text", {"locale": "\ud800"}, "22021", None),
        ("ALTER locale TYPE text", {"create_date": 1.5}, "22007", None),
    ],
)
async def test_refused_data_is_reported_by_sqlstate_and_column(
    sink: PostgresSink,
    admin: asyncpg.Connection,
    *,
    change: str,
    values: dict[str, ColumnValue],
    sqlstate: str,
    column: str | None,
) -> None:
    await admin.execute(f"ALTER TABLE user_logins {change}")
    good, poisoned = row(locale="DE", masked_ip=SECRET), row(masked_ip=SECRET, **values)
    batch = [good, poisoned, row(masked_ip=SECRET)]
    with pytest.raises(DataRejectedError) as caught:
        await sink.write(batch)
    assert (caught.value.sqlstate, caught.value.column) == (sqlstate, column)
    assert SECRET not in reachable(caught.value)
    assert caught.value.__context__ is None
    assert await admin.fetchval("SELECT count(*) FROM consumer.ledger") == 0
    assert await sink.write([good]) == Written(1, {}, 0)


@pytest.mark.parametrize(
    ("version", "sqlstate"),
    [(2**40, "22003"), (2**80, "22003"), (1.5, "22P02"), (True, "22P02")],
)
async def test_a_number_that_its_column_does_not_hold_is_refused_data(
    any_database: str, admin: asyncpg.Connection, version: int, sqlstate: str
) -> None:
    await admin.execute("ALTER TABLE user_logins DROP app_version, ADD app_version integer")
    async with PostgresSink(
        ConnectionSettings(any_database), WriteStatement(USER_LOGINS, INTEGER_KINDS)
    ) as sink:
        with pytest.raises(DataRejectedError) as caught:
            await sink.write([row(app_version=version)])
    assert caught.value.sqlstate == sqlstate
    assert str(version) not in reachable(caught.value)


async def test_what_a_trigger_of_the_tables_owner_refuses_is_refused_data(
    sink: PostgresSink, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'not %', NEW.masked_ip;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON user_logins
        FOR EACH ROW WHEN (NEW.locale = 'XX') EXECUTE FUNCTION refuse();
        """
    )
    with pytest.raises(DataRejectedError) as caught:
        await sink.write([row(), row(locale="XX", masked_ip=SECRET)])
    assert (caught.value.sqlstate, caught.value.column) == ("P0001", None)
    assert SECRET not in reachable(caught.value)
    assert await sink.write([row()]) == Written(1, {}, 0)


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ("DROP TABLE user_logins CASCADE", "42P01"),
        ("ALTER TABLE user_logins DROP locale", "42703"),
        ("ALTER TABLE user_logins ALTER locale TYPE bytea USING NULL", "42804"),
        ("DROP SCHEMA consumer CASCADE", "42P01"),
    ],
)
async def test_what_someone_took_away_is_refused_and_found_again_when_it_is_back(
    sink: PostgresSink, admin: asyncpg.Connection, change: str, sqlstate: str
) -> None:
    await sink.write([row()])
    undo = admin.transaction()
    await undo.start()
    await admin.execute(change)
    await undo.rollback()
    await sink.write([row()])
    await admin.execute(change)
    with pytest.raises(DatabaseRefusedError) as caught:
        await sink.write([row(masked_ip=SECRET)])
    assert caught.value.sqlstate == sqlstate
    assert SECRET not in reachable(caught.value)


async def test_a_changed_column_type_does_not_trip_a_prepared_statement(
    sink: PostgresSink, admin: asyncpg.Connection
) -> None:
    await sink.write([row()])
    await admin.execute("ALTER TABLE user_logins ALTER locale TYPE varchar(64)")
    await admin.execute("ALTER TABLE user_logins ADD note text")
    assert await sink.write([row()]) == Written(1, {}, 0)


async def test_a_missing_right_is_refused(
    any_database: str, admin: asyncpg.Connection, role: str
) -> None:
    await admin.execute(f"GRANT USAGE ON SCHEMA consumer TO {role}")
    async with PostgresSink(ConnectionSettings(as_role(any_database, role)), WRITE) as sink:
        with pytest.raises(DatabaseRefusedError) as caught:
            await sink.write([row(masked_ip=SECRET)])
    assert caught.value.sqlstate == "42501"
    assert SECRET not in reachable(caught.value)


async def test_a_server_that_takes_no_writes_is_not_connected_to(
    any_database: str, admin: asyncpg.Connection
) -> None:
    name = urlsplit(any_database).path[1:]
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(DatabaseError) as caught:
        await connect(ConnectionSettings(any_database))
    assert caught.value.sqlstate == "TargetServerAttributeNotMatched"
    assert not isinstance(caught.value, DatabaseRefusedError)


@asynccontextmanager
async def table_locked(admin: asyncpg.Connection) -> AsyncIterator[None]:
    async with admin.transaction():
        await admin.execute("LOCK TABLE user_logins")
        yield


async def waiting_backend(admin: asyncpg.Connection) -> int | None:
    pid = await admin.fetchval(
        # Within a transaction pg_stat_activity stays as first seen; pg_locks does not.
        "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    assert pid is None or isinstance(pid, int)
    return pid


async def test_a_terminated_backend_is_transient_and_the_batch_is_written_at_the_next_try(
    sink: PostgresSink, admin: asyncpg.Connection
) -> None:
    batch = [row(masked_ip=SECRET)]
    async with table_locked(admin):
        writing = asyncio.create_task(sink.write(batch))

        async def is_waiting() -> bool:
            return await waiting_backend(admin) is not None

        await eventually(is_waiting)
        await admin.fetchval("SELECT pg_terminate_backend($1)", await waiting_backend(admin))
        with pytest.raises(DatabaseError) as caught:
            await writing
    assert caught.value.sqlstate in {"57P01", "08003"}
    assert SECRET not in reachable(caught.value)
    assert await sink.write(batch) == Written(1, {}, 0)


async def test_a_slow_statement_is_ended_by_the_server(
    any_database: str, admin: asyncpg.Connection
) -> None:
    settings = ConnectionSettings(any_database, statement_timeout_seconds=0.5)
    async with PostgresSink(settings, WRITE) as sink:
        await sink.write([row()])
        async with table_locked(admin):
            with pytest.raises(StatementTooSlowError) as caught:
                await sink.write([row(masked_ip=SECRET)])
            assert caught.value.sqlstate == "57014"
            assert await waiting_backend(admin) is None
        assert SECRET not in reachable(caught.value)
        assert await sink.write([row()]) == Written(1, {}, 0)


@pytest.fixture
async def role(any_databases: Databases, any_database: str) -> AsyncIterator[str]:
    """A role that may nothing but connect; it lives on the server, so it is dropped again."""
    name = f"role_{urlsplit(any_database).path[1:]}"
    async with connected(ConnectionSettings(any_databases.server.dsn())) as connection:
        await connection.execute(f"CREATE ROLE {name} {login_of(any_database)} CONNECTION LIMIT 1")
    yield name
    async with connected(ConnectionSettings(any_database)) as connection:
        await connection.execute(f"DROP OWNED BY {name} CASCADE")
        await connection.execute(f"DROP ROLE {name}")


@pytest.fixture
async def filtered(any_database: str, admin: asyncpg.Connection, role: str) -> ConnectionSettings:
    """A role for which row-level security hides the whole quarantine."""
    await admin.execute(
        f"GRANT USAGE ON SCHEMA consumer TO {role}; GRANT SELECT ON consumer.quarantine TO {role};"
        "ALTER TABLE consumer.quarantine ENABLE ROW LEVEL SECURITY"
    )
    return ConnectionSettings(as_role(any_database, role))


async def test_row_level_security_fails_a_command_instead_of_hiding_rows(
    filtered: ConnectionSettings,
) -> None:
    async with connected(filtered) as connection:
        with pytest.raises(DatabaseRefusedError, match="or row-level security"), translated():
            await connection.fetch("SELECT id FROM consumer.quarantine")


async def test_row_level_security_fails_a_command_through_a_pooler_before_it_begins(
    filtered: ConnectionSettings,
) -> None:
    with pytest.raises(DatabaseRefusedError, match=r"row-level security of consumer\.quarantine"):
        async with connected(replace(filtered, statement_cache_size=0)):
            pass


async def test_too_many_connections_is_transient(any_database: str, role: str) -> None:
    settings = ConnectionSettings(as_role(any_database, role))
    async with connected(settings):
        with pytest.raises(DatabaseError) as caught:
            await connect(settings)
    assert caught.value.sqlstate == "53300"
    assert not isinstance(caught.value, DatabaseRefusedError)


async def test_a_wrong_password_is_refused(any_database: str, role: str) -> None:
    with pytest.raises(DatabaseRefusedError) as caught:
        await connect(ConnectionSettings(as_role(any_database, role, "not-it")))
    assert caught.value.sqlstate == "28P01"
    assert "not-it" not in reachable(caught.value)


async def test_a_role_that_is_missing_or_may_not_log_in_is_refused(
    any_database: str, admin: asyncpg.Connection, role: str
) -> None:
    with pytest.raises(DatabaseRefusedError, match="28P01"):
        await connect(ConnectionSettings(as_role(any_database, "nobody_of_that_name")))
    await admin.execute(f"ALTER ROLE {role} NOLOGIN")
    with pytest.raises(DatabaseRefusedError, match="28000"):
        await connect(ConnectionSettings(as_role(any_database, role)))


async def test_a_missing_database_is_refused(any_database: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="3D000"):
        await connect(ConnectionSettings(any_database + "_of_no_such_name"))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:hidden@127.0.0.1:port/name",
        "postgresql://user:hidden@127.0.0.1:5432/name?sslmode=sometimes",
        "mysql://user:hidden@127.0.0.1/name",
    ],
)
async def test_a_malformed_dsn_is_refused_without_being_quoted(dsn: str) -> None:
    with pytest.raises(DatabaseRefusedError) as caught:
        await connect(ConnectionSettings(dsn))
    assert "hidden" not in reachable(caught.value) + repr(ConnectionSettings(dsn))


async def test_a_port_where_nothing_listens_is_transient(unused_tcp_port: int) -> None:
    with pytest.raises(DatabaseError) as caught:
        await connect(
            ConnectionSettings(f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/postgres")
        )
    assert not isinstance(caught.value, DatabaseRefusedError)
