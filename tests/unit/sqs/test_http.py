"""The HTTP client against servers that answer oddly, break off, or lie."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from io import BytesIO
from itertools import pairwise
from socket import socket
from typing import cast

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from consumer.sqs.http import ClientConnection, HttpClient, HttpError, HttpResponse, ResponseReader
from tests.waiting import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n"
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


async def post(
    client: HttpClient,
    *,
    body: bytes = b"",
    deadline: float | None = None,
    is_idempotent: bool = False,
) -> HttpResponse:
    return await client.post("/", "", body, deadline or soon(), is_idempotent=is_idempotent)


async def test_a_request_has_host_headers_length_and_body() -> None:
    async with scripted([OK]) as (script, client):
        answer = await client.post(
            "/path", "x-name: value\r\n", b"body", soon(), is_idempotent=False
        )
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
            CHUNKED + b"\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            b"{}",
            id="chunked with an extension",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
            b"{}",
            id="chunked with trailers",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + OK, b"{}", id="interim answers"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no content"),
        pytest.param(
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"", id="no content, a length"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK, b"{}", id="interim with a header"
        ),
        pytest.param(
            LINE + b"Content-Length: \t2 \r\n\r\n{}",
            b"{}",
            id="length amid white space",
        ),
        pytest.param(
            LINE + b"Transfer-Encoding: Chunked\r\n\r\n000002\r\n{}\r\n0\r\n\r\n",
            b"{}",
            id="chunk size with zeros before it",
        ),
        pytest.param(
            LINE + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
            b"{}",
            id="an upgrade is offered",
        ),
        pytest.param(LINE + b"\r\nuntil the end", b"until the end", id="until the end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", b"old", id="HTTP/1.0"),
    ],
)
async def test_it_reads_every_form_of_answer(answer: bytes, body: bytes) -> None:
    async with scripted([answer]) as (_, client):
        assert (await post(client)).body == body


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nothing"),
        pytest.param(LINE + b"Content-Le", id="half a head"),
        pytest.param(LINE + b"Content-Length: 3\r\n\r\n{}", id="half a body"),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\r\n",
            id="half the chunks",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX-A: 1\r\n",
            id="half the trailers",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", id="no status"),
        pytest.param(LINE + b"Content-Length: -1\r\n\r\n{}", id="negative length"),
        pytest.param(LINE + b"Content-Length: 1_0\r\n\r\n{}", id="length of Python"),
        pytest.param(LINE + b"Content-Length: 2\r6\r\n\r\n{}", id="length with a bare CR"),
        pytest.param(
            LINE + b"Transfer-Encoding: chunked\rX\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="encoding with a bare CR",
        ),
        pytest.param(b"HTTP/1.1 200\rX\r\nContent-Length: 2\r\n\r\n{}", id="status with a bare CR"),
        pytest.param(LINE + b"Content-Length: 2\r\nContent-Length: 1\r\n\r\n{}", id="two lengths"),
        pytest.param(
            LINE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            id="length and chunks",
        ),
        pytest.param(LINE + b"Transfer-Encoding: gzip\r\n\r\n{}", id="another encoding"),
        pytest.param(
            CHUNKED + b"\r\n-5\r\n{}\r\n0\r\n\r\n",
            id="negative chunk",
        ),
        pytest.param(
            CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n",
            id="chunk longer than it says",
        ),
        pytest.param(
            b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="another protocol's status line"
        ),
        pytest.param(b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="an older version"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="a later version"),
        pytest.param(
            b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="an empty line first"
        ),
        pytest.param(b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\n{}", id="a status below 100"),
        pytest.param(b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\n{}", id="a status above 599"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n{}", id="status line without CR"),
        pytest.param(LINE + b"X: a\nContent-Length: 2\r\n\r\n{}", id="header without CR"),
        pytest.param(LINE + b"Content-Length: 2\r\n\n{}", id="head that ends without CR"),
        pytest.param(LINE + b"X: a\rContent-Length: 2\r\n\r\n{}", id="header with a bare CR"),
        pytest.param(LINE + b"X: \x00\r\nContent-Length: 2\r\n\r\n{}", id="header with a NUL"),
        pytest.param(LINE + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", id="folded header"),
        pytest.param(LINE + b"Content-Length: 2\r\n 6\r\n\r\n{}", id="folded length"),
        pytest.param(LINE + b"Content-Length : 2\r\n\r\n{}", id="space before the colon"),
        pytest.param(LINE + b"X\r\nContent-Length: 2\r\n\r\n{}", id="header without a colon"),
        pytest.param(LINE + b": x\r\nContent-Length: 2\r\n\r\n{}", id="header without a name"),
        pytest.param(
            LINE + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            id="the same length twice",
        ),
        pytest.param(LINE + b"Content-Length: 2, 2\r\n\r\n{}", id="list of lengths"),
        pytest.param(LINE + b"Content-Length:\r\n\r\n{}", id="no length in the header"),
        pytest.param(LINE + b"Content-Length: +2\r\n\r\n{}", id="length with a sign"),
        pytest.param(
            LINE + b"Content-Length: 18446744073709551618\r\n\r\n{}",
            id="length beyond 64 bits",
        ),
        pytest.param(
            CHUNKED + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="chunks and length",
        ),
        pytest.param(
            LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="two encodings",
        ),
        pytest.param(
            LINE
            + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="two encodings in two headers",
        ),
        pytest.param(
            CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="chunked twice",
        ),
        pytest.param(
            LINE + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="an encoding after chunked",
        ),
        pytest.param(
            LINE + b"Transfer-Encoding:\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            id="no encoding in the header",
        ),
        pytest.param(
            CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
            id="chunk size of C",
        ),
        pytest.param(
            CHUNKED + b"\r\n\r\n{}\r\n0\r\n\r\n",
            id="no chunk size",
        ),
        pytest.param(
            CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
            id="chunk size beyond 64 bits",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n",
            id="chunk size without CR",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\n0\r\n\r\n",
            id="chunk without CR",
        ),
        pytest.param(
            CHUNKED + b"\r\n2;a\n{}\r\n0\r\n\r\n",
            id="chunk extension without CR",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\r\n0\r\nContent-Length: 1\r\n\r\n",
            id="length among the trailers",
        ),
        pytest.param(
            CHUNKED + b"\r\n2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="encoding among the trailers",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n" + OK,
            id="interim response with a length",
        ),
        pytest.param(
            b"HTTP/1.1 150 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
            id="interim response with chunks",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + OK,
            id="other protocol from here on",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="only interim responses"),
        pytest.param(b"x" * 70_000, id="head without an end"),
        pytest.param(LINE + b"X: " + b"x" * 70_000, id="header without an end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000 + OK, id="interim responses for long"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes | None) -> None:
    async with scripted([answer]) as (script, client):
        with pytest.raises(HttpError):
            await post(client)
        assert script.made == 1


async def test_a_connection_is_used_again() -> None:
    async with scripted([OK, OK, OK]) as (script, client):
        for _ in range(3):
            await post(client)
        assert script.made == 1


async def test_calls_at_once_have_a_connection_each() -> None:
    async with scripted(["hang"], [OK]) as (script, client):
        hanging = asyncio.create_task(post(client))
        await eventually(lambda: len(script.requests) == 1)
        assert (await post(client)).status == 200
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
        pytest.param(OK + b"\n", id="an answer and a line end"),
        pytest.param(OK + b"\r\n", id="an answer and an empty line"),
        pytest.param(OK + OK, id="two answers"),
        pytest.param(OK + OK[:30], id="an answer and half a head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\r\n",
            id="chunks and an empty line",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\n{}",
            id="close in a list",
        ),
    ],
)
async def test_a_connection_is_not_used_again(last: bytes) -> None:
    async with scripted([last, OK], [OK]) as (script, client):
        for _ in range(2):
            assert (await post(client)).body == b"{}"
        assert script.made == 2


async def test_an_idle_connection_that_was_closed_is_replaced() -> None:
    async with scripted([OK], [OK]) as (script, client):
        await post(client)
        (connection,) = client._idle
        await eventually(lambda: not connection.reusable)
        assert (await post(client)).status == 200
        assert script.made == 2


async def test_an_idempotent_request_that_was_not_answered_is_sent_again() -> None:
    async with scripted([OK, None], [OK]) as (script, client):
        await post(client, body=b"first")
        assert (await post(client, body=b"again", is_idempotent=True)).status == 200
        assert [each.rpartition(b"\r\n")[2] for each in script.requests] == [
            b"first",
            b"again",
            b"again",
        ]


async def test_another_request_that_was_not_answered_is_not_sent_again() -> None:
    async with scripted([OK, None], [OK]) as (script, client):
        await post(client)
        with pytest.raises(HttpError):
            await post(client)
        assert (len(script.requests), script.made) == (2, 1)


async def test_a_request_whose_answer_began_is_not_sent_again() -> None:
    async with scripted([OK, b"HTTP/1.1 200 OK\r\n"], [OK]) as (script, client):
        await post(client)
        with pytest.raises(HttpError):
            await post(client, is_idempotent=True)
        assert script.made == 1


async def test_a_new_connection_that_closes_at_once_is_not_tried_again() -> None:
    async with scripted([None], [OK]) as (script, client):
        with pytest.raises(HttpError):
            await post(client, is_idempotent=True)
        assert script.made == 1


async def test_what_nothing_asked_for_closes_an_idle_connection() -> None:
    async with scripted([OK, OK]) as (script, client):
        await post(client)
        (connection,) = client._idle
        connection.data_received(OK)
        assert not connection.reusable
        await eventually(lambda: script.lost == 1)


async def test_a_cancelled_call_closes_its_connection() -> None:
    async with scripted(["hang"], [OK]) as (script, client):
        call = asyncio.create_task(post(client))
        await eventually(lambda: len(script.requests) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: script.lost == 1)
        assert (await post(client)).body == b"{}"
        assert script.made == 2


async def test_a_call_that_is_not_answered_in_time_closes_its_connection() -> None:
    async with scripted([OK, "hang"], [OK]) as (script, client):
        await post(client)
        with pytest.raises(TimeoutError):
            await post(client, deadline=asyncio.get_running_loop().time() + 0.01)
        await eventually(lambda: script.lost == 1)
        assert (await post(client)).body == b"{}"
        assert script.made == 2


async def test_a_call_is_not_ended_by_the_deadline_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    elapsed = loop.time
    async with scripted([OK, OK]) as (script, client):
        await post(client, deadline=elapsed() + DEADLINE_SECONDS / 3)
        monkeypatch.setattr(loop, "time", lambda: elapsed() + DEADLINE_SECONDS / 2)
        assert (await post(client)).body == b"{}"
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
    fail: Callable[[ClientConnection], None],
) -> None:
    connection = ClientConnection()
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
        await asyncio.sleep(0)  # until then the loop holds the call
        assert gone() is None
    finally:
        gc.enable()


async def test_a_connection_has_the_deadline_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", never)
    with pytest.raises(TimeoutError):
        await post(HttpClient("http://127.0.0.1:9", None), deadline=loop.time() + 0.01)


async def test_no_server_is_an_os_error() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError, match="Connect"):
        await post(HttpClient(f"http://127.0.0.1:{port}", None))


class _Sent(asyncio.Transport):
    """A transport that leads nowhere."""

    def write(self, data: object) -> None:
        del data

    def abort(self) -> None:
        pass


async def test_a_request_is_one_write() -> None:
    writes: list[bytes] = []

    class Writes(_Sent):
        def write(self, data: object) -> None:
            assert isinstance(data, bytes)
            writes.append(data)
            connection.data_received(OK)

    connection = ClientConnection()
    client = HttpClient("http://example.org", None)
    connection.connection_made(Writes())
    client._idle.append(connection)
    await post(client, body=b"body")
    assert writes == [b"POST / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 4\r\n\r\nbody"]


@dataclass(frozen=True)
class Read:
    """What became of bytes: status, body, and whether the connection may serve again."""

    status: int
    body: bytes
    leaves_reusable: bool


def read(pieces: Iterable[bytes], reader: ResponseReader | None = None) -> Read | None:
    """Read until the response is whole or the connection ends; None for what is no response."""
    reader = reader or ResponseReader()
    leaves_reusable = True
    try:
        for piece in pieces:
            if reader.is_whole:
                leaves_reusable = leaves_reusable and not piece  # it closes the connection
                continue
            reader.feed(piece)
    except HttpError:
        return None
    finally:
        reader.release()
    if not reader.is_whole:
        reader.feed_eof()
    if not reader.is_whole:
        return None
    response = reader.response()
    return Read(response.status, response.body, leaves_reusable and reader.leaves_reusable)


def cut(whole: bytes, places: Iterable[int]) -> list[bytes]:
    inside = sorted({place for place in places if 0 < place < len(whole)})
    return [whole[a:b] for a, b in pairwise([0, *inside, len(whole)])]


BODIES = st.one_of(
    st.sampled_from([b"", b"{}", b"\r\n", b"\n", b"0\r\n\r\n", OK]), st.binary(max_size=60)
)
HEADERS = st.sampled_from(
    [b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"X-A: b\r\n", b"X-B:\r\n"]
)


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    """Draw a response as it is sent, its status and its body."""
    status, body = draw(st.sampled_from([200, 400, 403, 500, 503])), draw(BODIES)
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    version = draw(st.sampled_from([b"1.0", b"1.1"]))
    head = interim + b"HTTP/%b %d X\r\n" % (version, status) + draw(HEADERS)
    match draw(st.sampled_from(["length", "chunks", "close"])):
        case "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, status, body
        case "close":
            return head + b"\r\n" + body, status, body
        case _:
            pieces = cut(body, draw(st.sets(st.integers(1, 60)))) if body else []
            extension = draw(st.sampled_from([b"", b";a=b"]))
            chunks = b"".join(
                b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces
            )
            end = b"0\r\n" + draw(HEADERS) + b"\r\n"
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + end, status, body


@given(responses())
def test_every_well_formed_response_is_read(response: tuple[bytes, int, bytes]) -> None:
    whole, status, body = response
    result = read([whole])
    assert result is not None
    assert (result.status, result.body) == (status, body)


HOSTILE_PARTS = st.one_of(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 500 x",
            b"\r\n",
            b"\r",
            b"\n",
            b"\r\n\r\n",
            b"Content-Length: 1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"0",
            b"5",
            b"-1",
            b"ffffffff",
            b":",
            b" ",
            b",",
            b"\0",
        ]
    ),
    st.binary(max_size=3),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a response of which a few places are overwritten, cut out, doubled or followed."""
    data, _, _ = draw(responses())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 4))
        data = data[:start] + draw(HOSTILE_PARTS) + data[draw(st.sampled_from([start, end])) :]
    return data


@given(damaged(), st.sets(st.integers(1, 300)))
@settings(max_examples=300)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n", set())
def test_the_result_does_not_depend_on_how_the_bytes_are_cut(data: bytes, places: set[int]) -> None:
    assert read([data]) == read(cut(data, places)) == read(cut(data, range(len(data))))


class _Received:
    """Bytes as http.client reads them off a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        assert mode == "rb"
        return BytesIO(self._data)


@given(damaged())
@settings(max_examples=300)
def test_what_is_read_of_damaged_bytes_is_what_another_client_reads(data: bytes) -> None:
    # After an interim response llhttp skips empty lines, and http.client does not.
    assume(b" 1" not in data)
    result = read([data])
    if result is None:
        return
    other = HTTPResponse(cast("socket", _Received(data)), method="POST")
    other.begin()
    assert (result.status, result.body) == (other.status, other.read())


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-A: ", b"bbbb", id="header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim responses"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"abcd", id="body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", id="chunks"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b";a=b", id="extensions"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X-A: b\r\n",
            id="trailers",
        ),
    ],
)
def test_what_never_ends_is_refused_at_the_bound(begin: bytes, more: bytes) -> None:
    reader = ResponseReader(max_head_bytes=1000, max_response_bytes=2000)
    if begin:
        reader.feed(begin)
    with pytest.raises(HttpError, match="too large"):
        _feed_for_long(reader, more)
    assert reader.received_bytes <= 2000
    reader.release()


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(LINE + b"X\r\n", id="malformed header"),
        pytest.param(LINE + b"Content-Length: 90000000\r\n\r\n", id="length above the bound"),
        pytest.param(CHUNKED + b"\r\nx", id="malformed chunk size"),
    ],
)
def test_what_cannot_become_a_response_is_refused_before_the_connection_ends(begin: bytes) -> None:
    reader = ResponseReader()
    with pytest.raises(HttpError, match="malformed"):
        reader.feed(begin)
    reader.release()


def _feed_for_long(reader: ResponseReader, piece: bytes) -> None:
    for _ in range(2000):
        reader.feed(piece)


@given(st.integers(900, 1100), st.sets(st.integers(1, 1200)))
def test_the_bound_of_the_head_is_exact_however_it_is_cut(size: int, places: set[int]) -> None:
    head = LINE + b"Content-Length: 2\r\nX: "
    data = head + b"x" * (size - len(head) - 4) + b"\r\n\r\n{}"
    result = read(cut(data, places), ResponseReader(max_head_bytes=1000))
    assert (result is not None) == (size <= 1000)


@pytest.mark.parametrize(
    "framed",
    [
        pytest.param(
            lambda body: LINE + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), id="length"
        ),
        pytest.param(
            lambda body: CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), id="chunks"
        ),
        pytest.param(lambda body: LINE + b"\r\n" + body, id="until close"),
    ],
)
@given(length=st.integers(850, 1050), places=st.sets(st.integers(1, 1200)))
def test_the_bound_of_the_response_is_exact_however_it_is_cut(
    framed: Callable[[bytes], bytes], length: int, places: set[int]
) -> None:
    data = framed(b"x" * length)
    reader = ResponseReader(max_head_bytes=100, max_response_bytes=1000)
    result = read(cut(data, places), reader)
    assert (result is not None) == (len(data) <= 1000)
