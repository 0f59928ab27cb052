"""The HTTP port: its pages, and that none of its clients can harm the consumer."""

import asyncio
import gc
import gzip
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import aiohttp
import pytest

from consumer.errors import SettingsError
from consumer.settings.sections import HttpSettings
from consumer.telemetry import events as telemetry
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serve_http
from consumer.telemetry.metrics import Metrics
from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.open_files import open_files_allowed
from tests.waiting import eventually

_DEADLINE_SECONDS = 60.0
_MANY_FILES = 2200  # both ends of a thousand connections, and all others
LISTEN = HttpSettings(port=0, max_connections=8, request_timeout_seconds=30)


@dataclass(frozen=True)
class Impatient:
    """A timeout shorter than the settings allow."""

    host: str = "127.0.0.1"
    port: int = 0
    max_connections: int = 8
    request_timeout_seconds: float = 0.2


class Overdue:
    def __init__(self) -> None:
        self.value = False

    def __call__(self) -> bool:
        return self.value


@pytest.fixture
def overdue() -> Overdue:
    return Overdue()


@pytest.fixture
def health(overdue: Overdue) -> Health:
    return Health(overdue)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(in_flight=lambda: 3, now=lambda: 0.0)


@pytest.fixture
async def port(health: Health, metrics: Metrics) -> AsyncIterator[int]:
    async with serve_http(LISTEN, health, metrics.render) as port:
        yield port


@pytest.fixture
async def impatient_port(health: Health, metrics: Metrics) -> AsyncIterator[int]:
    async with serve_http(Impatient(), health, metrics.render) as port:
        yield port


@pytest.fixture
async def client(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), _DEADLINE_SECONDS)
    finally:
        writer.close()


async def get_metrics(port: int, headers: str) -> bytes:
    return await exchange(port, f"GET /metrics HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), _DEADLINE_SECONDS) == b""
    except ConnectionError:
        return True


async def test_ready_after_the_start_and_not_before(
    client: aiohttp.ClientSession, health: Health
) -> None:
    async with client.get("/readyz") as answer:
        assert answer.status == 503
        assert await answer.json() == {"status": "unready", "reasons": ["starting"]}
    health.listen(telemetry.Consuming(30))
    async with client.get("/readyz") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.json() == {"status": "ok"}


async def test_alive_until_a_receive_is_overdue(
    client: aiohttp.ClientSession, overdue: Overdue
) -> None:
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    overdue.value = True
    async with client.get("/healthz") as answer:
        assert answer.status == 503
        assert (await answer.json())["status"] == "failing"


@pytest.mark.parametrize("accepted", ["gzip", "deflate, GZIP;q=0.5"])
async def test_metrics_are_compressed_where_the_client_accepts_it(port: int, accepted: str) -> None:
    head, _, body = (await get_metrics(port, f"Accept-Encoding: {accepted}\r\n")).partition(
        b"\r\n\r\n"
    )
    assert b"Content-Encoding: gzip" in head
    assert b"consumer_messages_in_flight 3.0" in gzip.decompress(body)


@pytest.mark.parametrize("header", ["", "Accept-Encoding: br\r\n"])
async def test_metrics_are_not_compressed_otherwise(port: int, header: str) -> None:
    answer = await get_metrics(port, header)
    assert b"Content-Encoding" not in answer
    assert b"consumer_messages_in_flight 3.0" in answer


async def test_metrics_come_in_the_format_that_is_asked_for(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "consumer_messages_in_flight 3.0" in await answer.text()
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with client.get("/metrics", headers=accept) as answer:
        assert answer.content_type == "application/openmetrics-text"
        assert (await answer.text()).endswith("# EOF\n")


async def test_head_answers_as_get_without_a_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/healthz") as answer:
        assert answer.status == 200
        assert answer.content_length == len(json.dumps({"status": "ok"}))
        assert await answer.read() == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(client: aiohttp.ClientSession, method: str) -> None:
    async with client.request(method, "/metrics") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/admin", "/../etc/passwd", "/healthz%00"])
async def test_other_paths_are_unknown(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("headers", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_body_is_refused_without_being_read(port: int, headers: bytes) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n"
    assert (await exchange(port, request)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_nonsense_is_refused_and_fills_no_log(
    port: int, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await exchange(port, request_bytes)).startswith(b"HTTP/1.0 400 ")
    assert caplog.records == []


async def test_a_connection_carries_one_request(port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await exchange(port, request * 2)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA"])
async def test_a_client_that_is_slow_to_send_is_cut_off(impatient_port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient_port)
    writer.write(sent)
    assert await is_closed(reader)
    writer.close()


async def test_a_byte_now_and_then_does_not_prolong_a_connection(impatient_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient_port)
    closed = asyncio.create_task(is_closed(reader))
    writer.write(b"GET /")
    while not closed.done():
        writer.write(b"a")
        await asyncio.wait([closed], timeout=0.05)
    assert await closed
    writer.close()


@pytest.fixture
def many_open_files() -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(open_files_allowed(_MANY_FILES))
        except CannotBeMadeError as reason:
            pytest.skip(str(reason))
        yield


@pytest.mark.usefixtures("many_open_files")
async def test_a_thousand_connections_neither_start_threads_nor_stop_the_next(port: int) -> None:
    threads = threading.active_count()
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
    one_too_many = [is_closed(reader) for reader, _ in links[LISTEN.max_connections :]]
    assert all(await asyncio.gather(*one_too_many))
    assert threading.active_count() == threads
    for _, writer in links:
        writer.transport.abort()

    async def answers() -> bool:
        with suppress(ConnectionError):
            return (await exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b'"ok"}')
        return False

    await eventually(answers)


async def test_a_stop_cuts_open_connections_off_at_once(health: Health, metrics: Metrics) -> None:
    # A connection that is not cut off would hold the test up until its timeout.
    async with serve_http(LISTEN, health, metrics.render, stop_seconds=3600.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        await exchange(port, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert await is_closed(reader)
    writer.close()


async def test_connections_leave_nothing_behind(port: int) -> None:
    def objects() -> int:
        gc.collect()
        return sum(
            type(each).__module__ == "consumer.telemetry.http_server" for each in gc.get_objects()
        )

    before = objects()
    for _ in range(20):
        await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    await eventually(lambda: objects() <= before)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "Address already in use; set http.port to a free one"),
        ("no.such.host.invalid", "no such address"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_named(
    health: Health, metrics: Metrics, port: int, host: str, reason: str
) -> None:
    taken = HttpSettings(host=host, port=port)
    with pytest.raises(SettingsError, match=rf"http\.host {host}, http\.port {port}: {reason}"):
        async with serve_http(taken, health, metrics.render):
            pass


async def test_it_listens_where_the_setting_says_and_nowhere_else(
    health: Health, metrics: Metrics
) -> None:
    async with serve_http(HttpSettings(host="127.0.0.2", port=0), health, metrics.render) as port:
        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
