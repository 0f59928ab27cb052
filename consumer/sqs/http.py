"""HTTP/1.1 to one server, and no more of it than calling an AWS API takes (RFC 9112).

A general client spends more on a call than everything else that we do with its ten messages
(docs/decisions). Redirects, cookies, compression and proxies are not spoken here.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

# Ten messages of 1 MiB, each byte as a six-byte escape, and room to spare.
_MAX_ANSWER_BYTES = 80 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"


class HttpError(Exception):
    """The connection broke or what came over it was not HTTP; the text holds nothing of it."""


class _StaleConnectionError(HttpError):
    """A kept connection turned out to have been closed before the request reached the server."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: tuple[int, Mapping[str, str]] | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self.reusable = True
        self._used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but not its classes.
        self._transport = cast("asyncio.Transport", transport)

    async def send(self, request: bytes) -> HttpAnswer:
        """Send a request and wait for its answer."""
        if self._transport is None or not self.reusable:
            raise _StaleConnectionError("closed while idle")
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        self._head = None
        self._transport.write(request)
        try:
            answer = await self._answer
        except BaseException:
            self.abort()  # an answer that nobody waits for would be taken for the next one's
            raise
        self._used = True
        return answer

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort()  # nothing was asked
            return
        self._buffer += data
        try:
            answer = self._parse()
        except (ValueError, IndexError):
            self._fail(HttpError("malformed answer"))
            return
        if answer is not None:
            self._answer.set_result(answer)

    def eof_received(self) -> bool:
        self.reusable = False
        if self._head is not None and self._waiting() and self._length() is None:
            status, headers = self._head
            assert self._answer is not None
            self._answer.set_result(HttpAnswer(status, headers, bytes(self._buffer)))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.reusable = False
        stale = self._used and not self._buffer and self._head is None
        error = _StaleConnectionError if stale else HttpError
        self._fail(error("connection lost"))

    def _waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _fail(self, error: HttpError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.abort()

    def _parse(self) -> HttpAnswer | None:
        """Return the answer once it is complete; raise ValueError if it is none."""
        if self._head is None and not self._parse_head():
            return None
        assert self._head is not None
        status, headers = self._head
        if len(self._buffer) > _MAX_ANSWER_BYTES:
            raise ValueError
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = _unchunked(self._buffer)
        else:
            length = self._length()
            complete = length is not None and len(self._buffer) >= length
            body = bytes(self._buffer[:length]) if complete else None
        if body is None:
            return None
        if headers.get("connection", "").lower() == "close":
            self.reusable = False
        return HttpAnswer(status, headers, body)

    def _parse_head(self) -> bool:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ValueError
            return False
        status_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        version, status = status_line.split(" ", 2)[:2]
        if not version.startswith("HTTP/1."):
            raise ValueError
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        if version == "HTTP/1.0" and headers.get("connection", "").lower() != "keep-alive":
            headers["connection"] = "close"
        del self._buffer[: end + len(_HEAD_END)]
        if status.startswith("1"):  # an interim answer; the real one follows
            return self._parse_head()
        self._head = (int(status), headers)
        return True

    def _length(self) -> int | None:
        assert self._head is not None
        length = self._head[1].get("content-length")
        return None if length is None else int(length)


def _unchunked(buffer: bytearray) -> bytes | None:
    """Return the body of a complete chunked answer, else None (RFC 9112, section 7.1)."""
    parts: list[bytes] = []
    start = 0
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:line_end].partition(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            return b"".join(parts) if buffer.endswith(b"\r\n", start) else None
        if len(buffer) < start + size + 2:
            return None
        parts.append(bytes(buffer[start : start + size]))
        start += size + 2
    return None


class HttpClient:
    """Keeps connections to the server of `url` and opens as many as calls are open at once.

    With `tls` the server's certificate is verified against it. Nothing here has a deadline of its
    own: the caller sets one around each call, and a call that is cancelled closes its connection.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._tls = tls
        self._hostname = parts.hostname or ""
        self._port = parts.port or (443 if tls else 80)
        # As in the Host header, which is signed: the default port is left out.
        self.host = parts.netloc.rpartition("@")[2]
        self._idle: list[_Connection] = []

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send a POST request.

        Raises:
            HttpError: the connection broke, or the answer is not HTTP.
            OSError: no connection could be made.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\n{lines}content-length: {len(body)}"
        request = head.encode("latin-1") + _HEAD_END + body
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._send(connection, request)
            except _StaleConnectionError:
                continue  # servers close idle connections; that is no failure of the queue
        return await self._send(await self._connect(), request)

    async def _send(self, connection: _Connection, request: bytes) -> HttpAnswer:
        answer = await connection.send(request)
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
