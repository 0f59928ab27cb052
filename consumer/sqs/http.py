"""HTTP/1.1 to one server, and no more of it than calling an AWS API takes (RFC 9112).

A general client spends more on a call than everything else that we do with its ten messages
(docs/decisions). Redirects, cookies, compression and proxies are not spoken here.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from consumer.runtime import enable_tcp_keepalive

# Ten messages of 1 MiB, each byte as a six-byte escape, and room to spare.
_MAX_ANSWER_BYTES = 80 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |\r\n|\Z)")
# The fields that are of use.
_FIELD = re.compile(
    rb"\r\n(?i:(content-length|transfer-encoding|connection)):((?:[^\r]|\r(?!\n))*)"
)
_LENGTH = re.compile(rb"[0-9]{1,9}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_WITHOUT_BODY = (204, 304)


class HttpError(Exception):
    """The connection broke or what came over it was not HTTP; the text holds nothing of it."""


class _StaleConnectionError(HttpError):
    """A kept connection turned out to have been closed before the request reached the server."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, of which nobody reads the headers."""

    status: int
    body: bytes = field(repr=False)


class _Head(NamedTuple):
    """Status line and headers; without a `length` the body is chunked or ends the connection."""

    status: int
    length: int | None
    is_chunked: bool
    keeps_alive: bool


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._chunks = bytearray()
        self._head: _Head | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self.reusable = True
        self._used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but not its classes.
        self._transport = cast("asyncio.Transport", transport)
        enable_tcp_keepalive(transport)

    async def send(self, request: bytes, deadline: float) -> HttpAnswer:
        """Send a request and wait for its answer; TimeoutError once the loop's clock shows more."""
        if self._transport is None or not self.reusable:
            raise _StaleConnectionError("closed while idle")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._head = None
        # As asyncio.timeout does, at a quarter of its cost.
        timer = loop.call_at(deadline, self._time_out)
        try:
            self._transport.write(request)
            answer = await self._answer
        except BaseException:
            self.abort()  # an answer that nobody waits for would be taken for the next one's
            raise
        finally:
            timer.cancel()
            # Its exception's traceback leads back here: a cycle that would keep the buffer.
            self._answer = None
        self._used = True
        return answer

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._waiting():
            self.abort()  # nothing was asked
            return
        self._buffer += data
        try:
            body = self._take_body()
        except ValueError:
            self._fail(HttpError("malformed answer"))
            return
        if body is not None:
            self._succeed(body)

    def eof_received(self) -> bool:
        self.reusable = False
        head = self._head
        ends_here = head is not None and head.length is None and not head.is_chunked
        if ends_here and self._waiting():
            self._succeed(bytes(self._buffer))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.reusable = False
        stale = self._used and not self._buffer and self._head is None
        error = _StaleConnectionError if stale else HttpError
        self._fail(error("connection lost"))

    def _waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _succeed(self, body: bytes) -> None:
        assert self._head is not None
        assert self._answer is not None
        # More than was asked for: what it would answer is anybody's guess.
        self.reusable = self.reusable and self._head.keeps_alive and not self._buffer
        self._answer.set_result(HttpAnswer(self._head.status, body))

    def _time_out(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: HttpError | TimeoutError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.abort()

    def _take_body(self) -> bytes | None:
        """Take the answer off the buffer; None while it is incomplete, ValueError if it is none."""
        buffer = self._buffer
        if self._head is None:
            self._head = _take_head(buffer)
            if self._head is None:
                return None
        if len(buffer) + len(self._chunks) > _MAX_ANSWER_BYTES:
            raise ValueError
        if self._head.is_chunked:
            if not _take_chunks(buffer, self._chunks):
                return None
            body = bytes(self._chunks)
            self._chunks.clear()
            return body
        length = self._head.length
        if length is None or len(buffer) < length:
            return None
        body = bytes(buffer[:length])
        del buffer[:length]
        return body


def _take_head(buffer: bytearray) -> _Head | None:
    """Take status line and headers off the buffer, None while they are incomplete."""
    while (end := buffer.find(_HEAD_END)) >= 0:
        head = bytes(buffer[:end])
        del buffer[: end + len(_HEAD_END)]
        match = _STATUS_LINE.match(head)
        if match is None:
            raise ValueError
        if not match[2].startswith(b"1"):  # an interim answer; the real one follows
            return _head_of(match[1], int(match[2]), head)
    if len(buffer) > _MAX_HEAD_BYTES:
        raise ValueError
    return None


def _head_of(minor_version: bytes, status: int, head: bytes) -> _Head:
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head):
        # Repeated ones make a list (RFC 9110, 5.3); two lengths are refused below for that.
        known = fields.get(name.lower())
        fields[name.lower()] = value.strip() if known is None else known + b", " + value.strip()
    encoding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if encoding is not None and (length is not None or encoding.lower() != b"chunked"):
        raise ValueError
    if length is not None and not _LENGTH.fullmatch(length):
        raise ValueError
    if status in _WITHOUT_BODY:
        encoding, length = None, b"0"
    connection = fields.get(b"connection", b"").lower()
    is_new = minor_version == b"1"
    keeps_alive = b"close" not in connection if is_new else b"keep-alive" in connection
    return _Head(status, None if length is None else int(length), encoding is not None, keeps_alive)


def _take_chunks(buffer: bytearray, body: bytearray) -> bool:
    """Move whole chunks to the body; return whether the last one came (RFC 9112, section 7.1)."""
    start = 0
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        match = _CHUNK_SIZE.fullmatch(buffer, start, line_end)
        if match is None:
            raise ValueError
        size, chunk = int(match[1], 16), line_end + 2
        if size == 0:
            # An empty line ends the trailers, of which there are mostly none.
            if (end := buffer.find(_HEAD_END, line_end)) >= 0:
                del buffer[: end + len(_HEAD_END)]
                return True
            break
        if len(buffer) < chunk + size + 2:
            break
        if not buffer.startswith(b"\r\n", chunk + size):
            raise ValueError
        body += buffer[chunk : chunk + size]
        start = chunk + size + 2
    del buffer[:start]
    return False


class HttpClient:
    """Keeps connections to the server of `url` and opens as many as calls are open at once.

    With `tls` the server's certificate is verified against it. A call that is cancelled, or is not
    answered in time, closes its connection.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._tls = tls
        self._hostname = parts.hostname or ""
        self._port = parts.port or (443 if tls else 80)
        # As in the Host header, which is signed: the default port is left out.
        self.host = parts.netloc.rpartition("@")[2]
        self._idle: list[_Connection] = []

    async def post(self, path: str, header_lines: str, body: bytes, deadline: float) -> HttpAnswer:
        """Send a POST request.

        `header_lines` are sent behind Host, each with its CRLF; `deadline` is by the event loop's
        clock.

        Raises:
            HttpError: the connection broke, or the answer is not HTTP.
            OSError: no connection could be made.
            TimeoutError: there was no answer until `deadline`.
        """
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\n{header_lines}"
        request = f"{head}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._send(connection, request, deadline)
            except _StaleConnectionError:
                continue  # servers close idle connections; that is no failure of the queue
        async with asyncio.timeout_at(deadline):
            connection = await self._connect()
        return await self._send(connection, request, deadline)

    async def _send(self, connection: _Connection, request: bytes, deadline: float) -> HttpAnswer:
        answer = await connection.send(request, deadline)
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            self._hostname,
            self._port,
            ssl=self._tls,
            server_hostname=self._hostname if self._tls else None,
        )
        return connection

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().abort()
