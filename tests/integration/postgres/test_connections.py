"""How connections are reused, counted, replaced and ended."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import uvloop

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    StatementTooSlowError,
)
from consumer.messages import Written
from consumer.postgres.connection import (
    Connections,
    ConnectionSettings,
    briefly_connected,
    connect,
    connected,
)
from consumer.postgres.sink import PostgresSink
from devkit.postgres import PostgresServer
from tests.integration.postgres.outcomes import WRITE, again, row
from tests.integration.postgres.relay import Relay
from tests.waiting import eventually


@pytest.fixture
async def relay(database: str) -> AsyncIterator[Relay]:
    async with Relay(database).running() as relay:
        yield relay


@pytest.fixture
def impatient(relay: Relay) -> ConnectionSettings:
    return ConnectionSettings(
        relay.dsn, max_connections=2, connect_timeout_seconds=0.7, statement_timeout_seconds=0.7
    )


async def test_a_server_that_goes_silent_holds_up_neither_write_nor_close(
    relay: Relay, impatient: ConnectionSettings
) -> None:
    batch = [row(), row()]
    started = time.monotonic()
    async with PostgresSink(impatient, WRITE) as sink:
        await sink.write([row()])
        relay.go_silent()
        with pytest.raises(DatabaseError, match="TimeoutError") as caught:
            await sink.write(batch)
        assert not isinstance(caught.value, DatabaseRefusedError)
        with pytest.raises(DatabaseError, match="TimeoutError"):
            await sink.write(batch)
        relay.speak()
        counts = await sink.write(batch)
        assert counts.rows + counts.duplicates == 2
        relay.go_silent()
    assert time.monotonic() - started < 30


async def test_a_commit_whose_answer_was_lost_is_a_duplicate_when_written_again(
    relay: Relay, impatient: ConnectionSettings, database: str
) -> None:
    batch = [row(), row()]
    async with (
        PostgresSink(impatient, WRITE) as sink,
        connected(ConnectionSettings(database)) as reader,
    ):
        await sink.write([row()])
        relay.swallow_answers()
        with pytest.raises(DatabaseError):
            await sink.write(batch)
        assert await reader.fetchval("SELECT count(*) FROM user_logins") == 3
        relay.speak()
        assert await sink.write([again(outcome) for outcome in batch]) == Written(0, {}, 2)


@pytest.fixture
async def connections(database: str) -> AsyncIterator[Connections]:
    async with Connections(ConnectionSettings(database)) as connections:
        yield connections


async def two_idle(connections: Connections) -> tuple[asyncpg.Connection, asyncpg.Connection]:
    async with connections.lease() as one, connections.lease() as other:
        assert one is not other
    return one, other


async def test_a_silent_server_ends_the_other_idle_connections_too(
    relay: Relay, impatient: ConnectionSettings
) -> None:
    async with Connections(impatient) as connections:
        one, other = await two_idle(connections)
        relay.go_silent()
        with pytest.raises(StatementTooSlowError, match="TimeoutError"):
            async with connections.lease() as last:
                await last.execute("SELECT 1")
        assert one.is_closed()
        assert other.is_closed()


async def test_a_connection_in_use_while_others_are_expired_is_not_used_again(
    connections: Connections,
) -> None:
    async with connections.lease() as busy:
        with pytest.raises(DatabaseError, match="08003"):
            async with connections.lease():
                raise asyncpg.ConnectionDoesNotExistError
        assert await busy.fetchval("SELECT 1") == 1
    assert busy.is_closed()


async def test_a_server_that_has_become_read_only_ends_every_connection(
    connections: Connections,
) -> None:
    one, other = await two_idle(connections)
    for each in one, other:
        await each.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseError, match="25006") as caught:
        async with connections.lease() as either:
            await either.execute("DELETE FROM consumer.ledger")
    assert not isinstance(caught.value, DatabaseRefusedError | DataRejectedError)
    assert one.is_closed()
    assert other.is_closed()
    async with connections.lease() as another:
        await another.execute("DELETE FROM consumer.ledger")


async def test_a_connection_whose_statement_was_refused_for_its_data_is_used_again(
    connections: Connections,
) -> None:
    with pytest.raises(DataRejectedError, match="22012"):
        async with connections.lease() as first:
            await first.execute("SELECT 1 / 0")
    async with connections.lease() as second:
        assert second is first


async def test_a_connection_whose_statement_was_cancelled_is_not_used_again(
    connections: Connections,
) -> None:
    started = asyncio.Event()
    leased: list[asyncpg.Connection] = []

    async def run() -> None:
        async with connections.lease() as connection:
            leased.append(connection)
            started.set()
            await connection.execute("SELECT pg_sleep(60)")

    running = asyncio.create_task(run())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert leased[0].is_closed()
    async with connections.lease() as another:
        assert await another.fetchval("SELECT 1") == 1


async def test_an_idle_connection_that_the_server_ended_is_replaced_unnoticed(
    connections: Connections, database: str
) -> None:
    async with connections.lease() as idle:
        pid = idle.get_server_pid()
    async with connected(ConnectionSettings(database)) as admin:
        await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
    await eventually(idle.is_closed)
    async with connections.lease() as another:
        assert await another.fetchval("SELECT 1") == 1


async def test_one_connection_serves_writes_that_follow_each_other(relay: Relay) -> None:
    async with PostgresSink(ConnectionSettings(relay.dsn), WRITE) as sink:
        for _ in range(5):
            await sink.write([row()])
    assert relay.accepted == 1


async def test_there_are_never_more_connections_than_allowed(relay: Relay) -> None:
    settings = ConnectionSettings(relay.dsn, max_connections=2)
    async with PostgresSink(settings, WRITE) as sink:
        await asyncio.gather(*(sink.write([row()]) for _ in range(20)))
    assert relay.accepted == 2


async def test_a_connection_is_replaced_at_its_maximum_age(database: str) -> None:
    now = 0.0
    settings = ConnectionSettings(database, max_connection_age_seconds=60)
    async with Connections(settings, clock=lambda: now) as connections:
        async with connections.lease() as first:
            pass
        now = 59.0
        async with connections.lease() as same:
            assert same is first
        now = 60.0
        async with connections.lease() as second:
            assert first.is_closed()
            now = 130.0
        assert second.is_closed()


async def test_a_connect_that_failed_leaves_its_place_to_another(
    relay: Relay, impatient: ConnectionSettings
) -> None:
    relay.go_silent()
    async with Connections(impatient) as connections:
        for _ in range(impatient.max_connections + 1):
            with pytest.raises(DatabaseError):
                async with connections.lease():
                    raise AssertionError
        relay.speak()
        async with connections.lease() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_session_carries_our_name_and_a_timeout_shorter_than_ours(
    database: str,
) -> None:
    settings = ConnectionSettings(
        database, statement_timeout_seconds=10, application_name="login-consumer-7"
    )
    async with Connections(settings) as connections, connections.lease() as connection:
        assert await connection.fetchval("SHOW application_name") == "login-consumer-7"
        assert await connection.fetchval("SHOW statement_timeout") == "9s"
    async with connected(settings) as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "0"


LIBPQ = (
    "application_name=mine&connect_timeout=9&keepalives=1&keepalives_idle=30&keepalives_interval=9"
    "&keepalives_count=3&channel_binding=prefer&gssencmode=prefer&load_balance_hosts=disable"
)


async def test_parameters_of_libpq_are_not_sent_to_the_server(database: str) -> None:
    settings = ConnectionSettings(f"{database}?{LIBPQ}&search_path=pg_catalog")
    async with connected(settings) as connection:
        assert await connection.fetchval("SHOW application_name") == "mine"
        assert await connection.fetchval("SHOW search_path") == "pg_catalog"


async def test_a_timeout_in_the_dsn_shortens_ours(relay: Relay) -> None:
    relay.go_silent()
    settings = ConnectionSettings(f"{relay.dsn}?connect_timeout=1", connect_timeout_seconds=600)
    with pytest.raises(DatabaseError, match="TimeoutError"):
        await connect(settings)


async def test_a_misspelt_parameter_of_a_dsn_is_refused(database: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="check the DSN's parameters"):
        await connect(ConnectionSettings(f"{database}?sslmodee=require"))


async def test_what_a_dsn_asks_for_in_vain_is_refused(database: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="the DSN's channel_binding asks"):
        await connect(ConnectionSettings(f"{database}?channel_binding=require"))


async def keepalive(dsn: str) -> int:
    port = urlsplit(dsn).port
    async with connected(ConnectionSettings(dsn)):
        (descriptor,) = (
            each.fd for each in psutil.Process().net_connections("tcp") if each.raddr[1:] == (port,)
        )
        with socket.socket(fileno=os.dup(descriptor)) as link:
            return link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_keepalive_is_on_under_asyncio_and_uvloop(postgres_server: PostgresServer) -> None:
    assert asyncio.run(keepalive(postgres_server.dsn()))
    assert uvloop.run(keepalive(postgres_server.dsn()))


async def test_closing_ends_the_idle_connections(connections: Connections) -> None:
    one, other = await two_idle(connections)
    await connections.close()
    assert one.is_closed()
    assert other.is_closed()


async def test_a_few_quick_statements_do_not_wait_for_a_silent_server(relay: Relay) -> None:
    settings = ConnectionSettings(
        relay.dsn, connect_timeout_seconds=1, statement_timeout_seconds=0.2
    )

    async def ask() -> None:
        async with briefly_connected(settings) as connection:
            relay.go_silent()
            await connection.fetchval("SELECT 1")

    with pytest.raises(DatabaseError, match="TimeoutError"):
        await ask()
