"""HTTP/1.1: requests off a connection, and responses onto it, one by one and in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

MAX_HEAD_BYTES = 32_768
# A message of 1 MiB, each byte of it escaped with six.
MAX_BODY_BYTES = 8 * 1_048_576

_MAX_PENDING_REQUESTS = 8
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class HttpRequest(NamedTuple):
    """A whole request; the names of its headers are in lower case."""

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    body: bytes
    keeps_alive: bool

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class HttpResponse(NamedTuple):
    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class RequestReader:
    """Reads requests off bytes that come piece by piece; `requests` are those that are complete.

    Once it `is_refused` nothing more is read: what came is malformed or too large.
    """

    def __init__(self, on_expect_continue: Callable[[], None]) -> None:
        self.requests: deque[HttpRequest] = deque()
        self.is_refused = False
        self._on_expect_continue = on_expect_continue
        self._parser = HttpRequestParser(self)
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        if self.is_refused:
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.is_refused = True
        self._check(self._size)

    def on_message_begin(self) -> None:
        """Begin a request; this and what follows is called by the parser."""
        self._size = 0
        self._in_body = self._keeps_alive = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # trailers are dropped
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._keeps_alive = self._parser.should_keep_alive()
        self._check(int(self._headers.get(b"content-length", b"0")))
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._on_expect_continue()

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        if not self.is_refused:
            method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
            body, keeps_alive = b"".join(self._chunks), self._keeps_alive
            self.requests.append(HttpRequest(method, target, self._headers, body, keeps_alive))
        self.on_message_begin()

    def _check(self, size: int) -> None:
        if size > (MAX_BODY_BYTES if self._in_body else MAX_HEAD_BYTES):
            self.is_refused = True


class HttpConnection(asyncio.Protocol):
    """One client's connection.

    `on_request` is called for each request and answers it, at once or later, with `respond` or
    with `abort`. `on_lost` is called once, when the connection is gone.
    """

    def __init__(
        self,
        on_request: Callable[["HttpConnection", HttpRequest], None],
        on_made: Callable[["HttpConnection"], None],
        on_lost: Callable[["HttpConnection"], None],
    ) -> None:
        self._on_request = on_request
        self._on_made = on_made
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(lambda: self._write(b"HTTP/1.1 100 Continue\r\n\r\n"))
        self._current: HttpRequest | None = None
        self._is_serving = False
        self._writes_paused = False

    @property
    def is_open(self) -> bool:
        """Whether a response can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but not its classes.
        self._transport = cast("asyncio.Transport", transport)
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._on_lost(self)

    def eof_received(self) -> bool:
        """Close: a client that sends no more waits for no response."""
        return False

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._serve()

    def pause_writing(self) -> None:
        """Serve no more requests to a client that reads no responses."""
        self._writes_paused = True

    def resume_writing(self) -> None:
        self._writes_paused = False
        self._serve()

    def respond(self, response: HttpResponse) -> None:
        """Answer the current request, and go on with the next one."""
        if not self.is_open or self._current is None:
            return
        status, content_type, body, headers = response
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        )
        for name, value in headers.items():
            head += f"{name}: {value}\r\n"
        head += "\r\n" if self._current.keeps_alive else "Connection: close\r\n\r\n"
        self._write(head.encode("latin-1") + body)
        if not self._current.keeps_alive and self._transport is not None:
            self._transport.close()
        self._current = None
        self._serve()

    def abort(self) -> None:
        """Close without a response."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        """Hand over the requests that are there, until one has to wait for its response."""
        reader, requests = self._reader, self._reader.requests
        if self._is_serving or self._transport is None:
            return
        self._is_serving = True
        while requests and self._takes_requests():
            self._current = requests.popleft()
            self._on_request(self, self._current)
        self._is_serving = False
        if reader.is_refused and not requests and self._takes_requests():
            self._current = HttpRequest("", "", {}, b"", keeps_alive=False)
            self.respond(HttpResponse(400, "text/plain", b"Bad Request"))
        elif len(requests) > _MAX_PENDING_REQUESTS:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _takes_requests(self) -> bool:
        return self.is_open and self._current is None and not self._writes_paused

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
