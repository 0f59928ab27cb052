"""The HTTP client against servers that answer oddly, break off, or lie."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from consumer.sqs.http import HttpAnswer, HttpClient, HttpError, _Connection
from tests.waiting import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DEADLINE_SECONDS = 30


@dataclass
class Script:
    """What the server does: for each connection, the answers to its requests one after the other.

    After its last answer it closes the connection; None is to close without an answer, and "hang"
    to answer never.
    """

    connections: Sequence[Sequence[bytes | str | None]]
    requests: list[bytes] = field(default_factory=list)
    made: int = 0
    lost: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = self.connections[self.made]
        self.made += 1
        try:
            for answer in answers:
                self.requests.append(await _request(reader))
                if answer == "hang":
                    await reader.read()
                elif isinstance(answer, bytes):
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.lost += 1
            writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    (length,) = (int(each[15:]) for each in lines if each.startswith(b"content-length:"))
    return head + await reader.readexactly(length)


@asynccontextmanager
async def scripted(
    *connections: Sequence[bytes | str | None],
) -> AsyncIterator[tuple[Script, HttpClient]]:
    script = Script(connections)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}/", None)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield script, client
    finally:
        client.close()
        server.close()


def soon() -> float:
    return asyncio.get_running_loop().time() + DEADLINE_SECONDS


async def test_a_request_has_host_headers_length_and_body() -> None:
    async with scripted([OK]) as (script, client):
        answer = await client.post("/path", "x-name: value\r\n", b"body", soon())
        host = client.host
    assert (answer.status, answer.body) == (200, b"{}")
    head = f"POST /path HTTP/1.1\r\nhost: {host}\r\nx-name: value\r\ncontent-length: 4\r\n\r\n"
    assert script.requests == [head.encode() + b"body"]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(OK, b"{}", id="length"),
        pytest.param(
            b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\n{}", b"{}", id="no phrase, no space"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            b"{}",
            id="chunked with an extension",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
            b"{}",
            id="chunked with trailers",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + OK, b"{}", id="interim answers"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no content"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", id="until the end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", b"old", id="HTTP/1.0"),
    ],
)
async def test_it_reads_every_form_of_answer(answer: bytes, body: bytes) -> None:
    async with scripted([answer]) as (_, client):
        assert (await client.post("/", "", b"", soon())).body == body


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", id="half a body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
            id="half the chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: 1\r\n",
            id="half the trailers",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n{}", id="length of Python"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r6\r\n\r\n{}", id="length with a bare CR"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\rX\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="encoding with a bare CR",
        ),
        pytest.param(b"HTTP/1.1 200\rX\r\nContent-Length: 2\r\n\r\n{}", id="status with a bare CR"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\n{}", id="two lengths"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            id="length and chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", id="another encoding"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
            id="negative chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
            id="chunk longer than it says",
        ),
        pytest.param(b"x" * 70_000, id="head without an end"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes | None) -> None:
    async with scripted([answer]) as (script, client):
        with pytest.raises(HttpError):
            await client.post("/", "", b"", soon())
        assert script.made == 1


async def test_an_answer_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.sqs.http._MAX_ANSWER_BYTES", 1000)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n%b\r\n" % (
        b"x" * 100
    )
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
        chunks + b"64\r\n%b\r\n" % (b"x" * 100) * 10 + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
    ):
        async with scripted([answer]) as (_, client):
            with pytest.raises(HttpError):
                await client.post("/", "", b"", soon())


async def test_a_connection_is_used_again() -> None:
    async with scripted([OK, OK, OK]) as (script, client):
        for _ in range(3):
            await client.post("/", "", b"", soon())
        assert script.made == 1


async def test_calls_at_once_have_a_connection_each() -> None:
    async with scripted(["hang"], [OK]) as (script, client):
        hanging = asyncio.create_task(client.post("/", "", b"", soon()))
        await eventually(lambda: len(script.requests) == 1)
        assert (await client.post("/", "", b"", soon())).status == 200
        hanging.cancel()
        assert script.made == 2


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", id="close"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
        pytest.param(OK + b"more", id="more than an answer"),
    ],
)
async def test_a_connection_is_not_used_again(last: bytes) -> None:
    async with scripted([last, OK], [OK]) as (script, client):
        for _ in range(2):
            assert (await client.post("/", "", b"", soon())).body == b"{}"
        assert script.made == 2


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    async with scripted([OK], [OK]) as (script, client):
        await client.post("/", "", b"", soon())
        await eventually(lambda: script.lost == 1)
        assert (await client.post("/", "", b"", soon())).status == 200
        assert script.made == 2


async def test_a_kept_connection_that_closes_on_the_request_is_replaced() -> None:
    async with scripted([OK, None], [OK]) as (script, client):
        await client.post("/", "", b"first", soon())
        assert (await client.post("/", "", b"again", soon())).status == 200
        assert [each.rpartition(b"\r\n")[2] for each in script.requests] == [
            b"first",
            b"again",
            b"again",
        ]


async def test_a_request_whose_answer_began_is_not_sent_again() -> None:
    async with scripted([OK, b"HTTP/1.1 200 OK\r\n"], [OK]) as (script, client):
        await client.post("/", "", b"", soon())
        with pytest.raises(HttpError):
            await client.post("/", "", b"", soon())
        assert script.made == 1


async def test_a_new_connection_that_closes_at_once_is_not_tried_again() -> None:
    async with scripted([None], [OK]) as (script, client):
        with pytest.raises(HttpError):
            await client.post("/", "", b"", soon())
        assert script.made == 1


async def test_what_comes_unasked_closes_a_kept_connection() -> None:
    async with scripted([OK, OK]) as (script, client):
        await client.post("/", "", b"", soon())
        (connection,) = client._idle
        connection.data_received(OK)
        assert not connection.reusable
        await eventually(lambda: script.lost == 1)


async def test_a_cancelled_call_closes_its_connection() -> None:
    async with scripted(["hang"], [OK]) as (script, client):
        call = asyncio.create_task(client.post("/", "", b"", soon()))
        await eventually(lambda: len(script.requests) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: script.lost == 1)
        assert (await client.post("/", "", b"", soon())).body == b"{}"
        assert script.made == 2


async def test_a_call_that_is_not_answered_in_time_closes_its_connection() -> None:
    async with scripted([OK, "hang"], [OK]) as (script, client):
        await client.post("/", "", b"", soon())
        with pytest.raises(TimeoutError):
            await client.post("/", "", b"", asyncio.get_running_loop().time() + 0.01)
        await eventually(lambda: script.lost == 1)
        assert (await client.post("/", "", b"", soon())).body == b"{}"
        assert script.made == 2


async def test_a_call_is_not_ended_by_the_deadline_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    elapsed = loop.time
    async with scripted([OK, OK]) as (script, client):
        await client.post("/", "", b"", elapsed() + DEADLINE_SECONDS / 3)
        monkeypatch.setattr(loop, "time", lambda: elapsed() + DEADLINE_SECONDS / 2)
        assert (await client.post("/", "", b"", soon())).body == b"{}"
        assert script.made == 1


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(lambda connection: connection._time_out(), id="timed out"),
        pytest.param(lambda connection: connection.connection_lost(None), id="broken"),
        pytest.param(lambda connection: connection.data_received(b"x\r\n\r\n"), id="malformed"),
    ],
)
async def test_a_failed_call_keeps_its_connection_no_longer(
    fail: Callable[[_Connection], None],
) -> None:
    connection = _Connection()
    connection.connection_made(_Sent())
    gone = weakref.ref(connection)
    gc.disable()  # which would find a cycle late, with what was read in it
    try:
        call = asyncio.create_task(connection.send(b"", soon()))
        await asyncio.sleep(0)
        fail(connection)
        with pytest.raises((HttpError, TimeoutError)):
            await call
        del call, connection
        await asyncio.sleep(0)  # until then the loop holds the call whose end it told us
        assert gone() is None
    finally:
        gc.enable()


async def test_a_connection_that_is_not_made_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", never)
    with pytest.raises(TimeoutError):
        await HttpClient("http://127.0.0.1:9", None).post("/", "", b"", loop.time() + 0.01)


async def test_no_server_is_an_os_error() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError, match="Connect"):
        await HttpClient(f"http://127.0.0.1:{port}", None).post("/", "", b"", soon())


class _Sent(asyncio.Transport):
    """A transport that leads nowhere."""

    def write(self, data: object) -> None:
        del data

    def abort(self) -> None:
        pass


async def _answer_in_pieces(pieces: Sequence[bytes]) -> HttpAnswer:
    connection = _Connection()
    connection.connection_made(_Sent())
    call = asyncio.create_task(connection.send(b"", soon()))
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
    connection.eof_received()
    connection.connection_lost(None)
    return await call


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n10;a=b\r\n0123456789abcdef\r\n0\r\nX-A: 1\r\n\r\n"
)
COUNTED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n"


@given(cuts=st.sets(st.integers(1, 150)), chunked=st.booleans())
def test_an_answer_reads_alike_however_it_is_cut(cuts: set[int], chunked: bool) -> None:  # noqa: FBT001 drawn
    whole = CHUNKED if chunked else COUNTED + b"abc0123456789abcdef"
    places = sorted(cut for cut in cuts if cut < len(whole))
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    answer = asyncio.run(_answer_in_pieces(pieces))
    assert (answer.status, answer.body) == (200, b"abc0123456789abcdef")


HOSTILE_PARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 ",
        b"HTTP/1.0 500 x",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"0",
        b"5",
        b"-1",
        b"ffffffff",
        b":",
        b"\0\xff",
    ]
)


@given(pieces=st.lists(HOSTILE_PARTS | st.binary(max_size=20), max_size=12))
def test_hostile_bytes_are_an_answer_or_an_error(pieces: list[bytes]) -> None:
    try:
        answer = asyncio.run(_answer_in_pieces(pieces))
    except HttpError:
        return
    assert 200 <= answer.status <= 599
