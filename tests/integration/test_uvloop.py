"""The service runs on uvloop, the tests on asyncio's own loop: what differs between them."""

import asyncio

import pytest
import uvloop

from consumer.runtime import run_async
from consumer.settings.sections import HttpSettings
from consumer.sqs.client import open_transport
from consumer.sqs.queue import QueueAddress, queue_attributes
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serve_http
from devkit.sqs import SqsServer


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_commands_run_on_uvloop() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert isinstance(run_async(loop()), uvloop.Loop)


def test_the_queue_is_called_on_uvloop() -> None:
    async def visibility_seconds() -> int:
        async with SqsServer() as server:
            address = QueueAddress(server.create_queue("logins"), server.endpoint_url)
            async with open_transport(address) as transport:
                found = await queue_attributes(transport, address.queue_url, timeout_seconds=30)
        return found.visibility_seconds

    assert run_async(visibility_seconds()) == 30


def test_the_http_port_answers_on_uvloop() -> None:
    async def status_line() -> bytes:
        health = Health(lambda: False)
        async with serve_http(HttpSettings(port=0), health, lambda _: (b"", "text/plain")) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            line = await reader.readline()
            writer.close()
        return line

    assert run_async(status_line()) == b"HTTP/1.1 200 OK\r\n"
