"""Connections that a network drops: packets vanish, and no side is notified."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.postgres.connection import ConnectionSettings, connect
from consumer.sqs.http import HttpClient, HttpError
from tests.databases import at_port
from tests.faults.harness import proxy as harness
from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.proxy import (
    Proxy,
    check_packets_can_be_dropped,
    is_http_request,
    is_sql_request,
)

# Without an end of its own each of these would wait for minutes.
_DEADLINE_SECONDS = 45


@pytest.fixture(autouse=True)
def _dropped_packets() -> None:
    try:
        check_packets_can_be_dropped()
    except CannotBeMadeError as reason:
        pytest.skip(str(reason))


@dataclass
class Http:
    """A server behind a proxy that answers all paths but /silence."""

    proxy: Proxy
    asked: asyncio.Queue[str]

    def client(self) -> HttpClient:
        return HttpClient(f"http://127.0.0.1:{self.proxy.port}", None)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    asked: asyncio.Queue[str] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                asked.put_nowait(path)
                if path != "/silence":
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(answer(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[1], is_http_request).running() as proxy:
        yield Http(proxy, asked)
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _late() -> float:
    return asyncio.get_running_loop().time() + 2 * _DEADLINE_SECONDS


async def test_a_request_on_a_connection_that_was_dropped_goes_over_another(http: Http) -> None:
    client = http.client()
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await client.post("/", "", b"", _late(), is_idempotent=True)
        http.proxy.go_deaf()
        assert (await client.post("/", "", b"", _late(), is_idempotent=True)).status == 200
    assert http.proxy.accepted == 2
    client.close()


async def test_a_long_poll_ends_when_its_connection_is_dropped(http: Http) -> None:
    client = http.client()
    async with asyncio.timeout(_DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(
            _failure(client.post("/silence", "", b"", _late(), is_idempotent=True))
        )
        assert await http.asked.get() == "/silence"
        http.proxy.go_deaf()
    assert isinstance(poll.result(), HttpError)


async def _failure(call: Awaitable[object]) -> Exception | None:
    try:
        await call
    except HttpError as error:
        return error
    return None


async def test_a_statement_on_a_connection_that_was_dropped_fails(database: str) -> None:
    target = urlsplit(database)
    assert target.port is not None
    async with Proxy(target.port, is_sql_request).running() as proxy:
        connection = await connect(ConnectionSettings(at_port(database, proxy.port)))
        await connection.execute("SELECT 1")
        proxy.go_deaf()
        with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
            await connection.execute("SELECT 1", timeout=_DEADLINE_SECONDS)
        assert connection.is_closed()


async def test_a_proxy_that_cannot_drop_packets_reports_it(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "_IP_MINTTL", 9999)
    with pytest.raises(CannotBeMadeError, match="Protocol not available"):
        http.proxy.go_silent()
