"""The HTTP port: /healthz, /readyz and /metrics."""

import asyncio
import errno
import gzip
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol, cast

from aiohttp import web
from prometheus_client.exposition import gzip_accepted

from consumer.errors import SettingsError
from consumer.telemetry.health import Health

_STOP_SECONDS = 2.0

# Gives the metrics and their content type in a format that the Accept header allows.
Render = Callable[[str], tuple[bytes, str]]
_Page = Callable[[web.BaseRequest], web.Response]


class HttpOptions(Protocol):
    """Where to listen, and within which bounds; port 0 is any free one."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def max_connections(self) -> int: ...

    @property
    def request_timeout_seconds(self) -> float: ...


@asynccontextmanager
async def serve_http(
    options: HttpOptions, health: Health, render: Render, *, stop_seconds: float = _STOP_SECONDS
) -> AsyncIterator[int]:
    """Answer GET and HEAD while the context lasts; yield the port.

    A connection carries one request. It is closed after `request_timeout_seconds`, whether its
    client is slow to send or to read. A connection beyond `max_connections` is closed at once.

    Raises:
        SettingsError: this address and port cannot be listened on.
    """
    pages = _pages(health, render)
    http = web.Server(
        lambda request: _respond(request, pages),
        access_log=None,
        logger=_silent_logger(),
        keepalive_timeout=0,
        lingering_time=0,
    )
    open_connections: set[_Connection] = set()

    def accept() -> _Connection:
        return _Connection(
            http(), open_connections, options.max_connections, options.request_timeout_seconds
        )

    listener = await _listener(accept, options.host, options.port)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for connection in list(open_connections):
            connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(stop_seconds):
                await http.shutdown(stop_seconds)
                await listener.wait_closed()


async def _listener(accept: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(accept, host, port)
    except OSError as error:
        known = error.errno is not None and error.errno > 0  # a name lookup's is negative
        reason = os.strerror(error.errno or 0) if known else "no such address"
        if error.errno == errno.EADDRINUSE:
            reason += "; set http.port to a free one, or to 0 for any"
        raise SettingsError(f"http.host {host}, http.port {port}: {reason}") from None


def _pages(health: Health, render: Render) -> Mapping[str, _Page]:
    return {
        "/healthz": lambda _: _status("failing", health.not_alive()),
        "/readyz": lambda _: _status("unready", health.not_ready()),
        "/metrics": lambda request: _metrics(request, render),
    }


def _status(otherwise: str, reasons: list[str]) -> web.Response:
    if not reasons:
        return web.json_response({"status": "ok"})
    return web.json_response({"status": otherwise, "reasons": reasons}, status=503)


def _metrics(request: web.BaseRequest, render: Render) -> web.Response:
    body, content_type = render(request.headers.get("Accept", ""))
    headers = {"Content-Type": content_type}
    if gzip_accepted(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body)
    return web.Response(body=body, headers=headers)


async def _respond(request: web.BaseRequest, pages: Mapping[str, _Page]) -> web.Response:
    page = pages.get(request.path)
    if page is None:
        response = web.Response(status=404)
    elif request.method not in ("GET", "HEAD"):
        response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
    elif request.body_exists:
        response = web.Response(status=413)
    else:
        response = page(request)
    response.force_close()
    return response


def _silent_logger() -> logging.Logger:
    """A logger for aiohttp that drops everything: no client of the port may fill the log."""
    logger = logging.Logger("http")  # noqa: LOG001 unregistered: no configuration turns it on again
    logger.disabled = True
    return logger


class _Connection(asyncio.Protocol):
    """Puts a cap on the number of connections and a deadline on each; aiohttp has neither."""

    def __init__(
        self,
        http: asyncio.Protocol,
        open_connections: set["_Connection"],
        max_connections: int,
        timeout_seconds: float,
    ) -> None:
        self._http = http
        self._open_connections = open_connections
        self._max_connections = max_connections
        self._timeout_seconds = timeout_seconds
        self._transport: asyncio.WriteTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but not its classes.
        transport = cast("asyncio.Transport", transport)
        if len(self._open_connections) >= self._max_connections:
            transport.abort()
            return
        self._transport = transport
        self._open_connections.add(self)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._timeout_seconds, transport.abort)
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._open_connections.discard(self)
            self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
