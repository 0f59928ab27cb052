"""HTTP/1.1 to one server, and no more of it than a call of an AWS API takes (RFC 9112).

A general client spends more on a call than everything else that is done with its ten messages
(docs/decisions). Redirects, cookies, compression and proxies are left out. llhttp frames the
responses.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from consumer.runtime import enable_tcp_keepalive

# Ten messages of 1 MiB, each byte as a six-byte escape, and room to spare.
_MAX_RESPONSE_BYTES = 80 * 1024 * 1024
# Of status line and headers; interim responses count towards it.
_MAX_HEAD_BYTES = 64 * 1024
_VERSION = b"HTTP/1."
_LINE_END = b"\r\n"


class HttpError(Exception):
    """The connection broke or what came over it was not HTTP; the text holds nothing of it."""


class _UnansweredError(HttpError):
    """The connection ended before a byte of the response."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response without its headers, which nothing reads."""

    status: int
    body: bytes = field(repr=False)


class ResponseReader:
    """Puts one response together out of pieces; the methods `on_…` are llhttp's callbacks.

    llhttp is strict by itself. Refused here besides: other versions and protocols, status codes
    that do not exist, transfer codings other than chunked, interim responses that announce a body.
    """

    def __init__(
        self,
        max_head_bytes: int = _MAX_HEAD_BYTES,
        max_response_bytes: int = _MAX_RESPONSE_BYTES,
    ) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_response_bytes = max_response_bytes
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._status = 0
        self._length: int | None = None
        self._is_chunked = False
        self._has_head = False
        self._body = bytearray()
        self.received_bytes = 0
        self.is_whole = False
        # Whether the server keeps the connection open and sent nothing behind the response.
        self.leaves_reusable = False

    def feed(self, data: bytes) -> None:
        """Read on; HttpError if it is no response or too large a one."""
        while data and not self.is_whole:
            bound = self._max_response_bytes if self._has_head else self._max_head_bytes
            room = bound - self.received_bytes
            if room <= 0:
                raise HttpError("response too large")
            # Cut at the bound, so that it holds however the network cuts the response.
            self._feed_within_bound(data[:room])
            data = data[room:]
        if data:
            self.leaves_reusable = False

    def feed_eof(self) -> None:
        """Take note that the connection ended, which may be the end of the body."""
        if self._has_head and self._length is None and not self._is_chunked:
            self.is_whole = True

    def response(self) -> HttpResponse:
        return HttpResponse(self._status, bytes(self._body))

    def release(self) -> None:
        """End the cycle with the parser, which would hold what was read for long."""
        self._parser = None

    def _feed_within_bound(self, data: bytes) -> None:
        start = self.received_bytes
        if start < len(_VERSION) and not _VERSION.startswith(data[: len(_VERSION) - start], start):
            raise HttpError("malformed response")
        self.received_bytes += len(data)
        if data[-1] in _LINE_END:
            # llhttp skips line ends between responses and reports nothing: a response that is whole
            # without this one has it behind it.
            self._parse(data[:-1])
            if self.is_whole:
                self.leaves_reusable = False
                return
            data = data[-1:]
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self.is_whole:
                raise HttpError("malformed response") from None
            self.leaves_reusable = False

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise ValueError  # another response, which nothing asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length":
            self._length = int(value)
            if self._length > self._max_response_bytes:
                raise ValueError
        elif name == b"transfer-encoding":
            if self._is_chunked or value.strip().lower() != b"chunked":
                raise ValueError
            self._is_chunked = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if not 100 <= self._status < 600:  # noqa: PLR2004 RFC 9110, section 15
            raise ValueError
        if self._is_interim():
            if self._length is not None or self._is_chunked:
                raise ValueError
            return
        self._has_head = True
        self.leaves_reusable = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self.is_whole = not self._is_interim()

    def _is_interim(self) -> bool:
        return self._status < 200  # noqa: PLR2004 RFC 9110, section 15.2


class ClientConnection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._response: asyncio.Future[HttpResponse] | None = None
        self.reusable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but not its classes.
        self._transport = cast("asyncio.Transport", transport)
        enable_tcp_keepalive(transport)

    async def send(self, request: bytes, deadline: float) -> HttpResponse:
        """Send a request; TimeoutError if `deadline`, by the loop's clock, comes first."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._response = loop.create_future()
        self._reader = reader = ResponseReader()
        # As asyncio.timeout does, at a quarter of its cost.
        timer = loop.call_at(deadline, self._time_out)
        try:
            self._transport.write(request)
            response = await self._response
        except BaseException:
            self.abort()  # its response would be taken for the next request's
            raise
        finally:
            timer.cancel()
            reader.release()
            # Its exception's traceback leads back here: a cycle that would hold the buffer.
            self._response = self._reader = None
        return response

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        reader = self._waiting()
        if reader is None:
            self.abort()  # nothing was asked
            return
        try:
            reader.feed(data)
        except HttpError as error:
            self._fail(error)
            return
        if reader.is_whole:
            self._succeed(reader)

    def eof_received(self) -> bool:
        self.reusable = False
        if reader := self._waiting():
            reader.feed_eof()
            if reader.is_whole:
                self._succeed(reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.reusable = False
        reader = self._reader
        is_unanswered = reader is not None and not reader.received_bytes
        self._fail((_UnansweredError if is_unanswered else HttpError)("connection lost"))

    def _waiting(self) -> ResponseReader | None:
        """Return the reader of the response that is waited for, if there is one."""
        is_waiting = self._response is not None and not self._response.done()
        return self._reader if is_waiting else None

    def _succeed(self, reader: ResponseReader) -> None:
        assert self._response is not None
        self.reusable = self.reusable and reader.leaves_reusable
        self._response.set_result(reader.response())

    def _time_out(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: HttpError | TimeoutError) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
        self.abort()


class HttpClient:
    """Keeps connections to the server of `url` and opens as many as calls are open at once.

    With `tls` the server's certificate is verified against it. A call that is cancelled or times
    out closes its connection.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._tls = tls
        self._hostname = parts.hostname or ""
        self._port = parts.port or (443 if tls else 80)
        # As in the Host header, which is signed: the default port is left out.
        self.host = parts.netloc.rpartition("@")[2]
        self._idle: list[ClientConnection] = []

    async def post(
        self,
        path: str,
        header_lines: str,
        body: bytes,
        deadline: float,
        *,
        is_idempotent: bool,
    ) -> HttpResponse:
        """Send a POST request.

        `header_lines` are sent behind Host, each with its CRLF. `deadline` is by the event loop's
        clock. Servers close idle connections, maybe just as a request is on its way: an idempotent
        one is then sent again over another connection.

        Raises:
            HttpError: the connection broke, or the response is not HTTP.
            OSError: no connection could be made.
            TimeoutError: there was no response until `deadline`.
        """
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\n{header_lines}"
        request = f"{head}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        while self._idle:
            connection = self._idle.pop()
            if not connection.reusable:
                continue
            try:
                return await self._send(connection, request, deadline)
            except _UnansweredError:
                if not is_idempotent:
                    raise
        async with asyncio.timeout_at(deadline):
            connection = await self._connect()
        return await self._send(connection, request, deadline)

    async def _send(
        self, connection: ClientConnection, request: bytes, deadline: float
    ) -> HttpResponse:
        response = await connection.send(request, deadline)
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.abort()
        return response

    async def _connect(self) -> ClientConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            ClientConnection,
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
