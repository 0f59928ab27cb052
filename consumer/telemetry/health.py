"""Whether the consumer works, and the small HTTP server that tells: /healthz, /readyz, /metrics.

Alive: no receive is open past its deadline; restart what is not. Ready: started, not stopping, and
neither the queue nor the database fails; a restart would not help.
"""

import asyncio
import errno
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol, cast

from aiohttp import web

from consumer.errors import SettingsError
from consumer.telemetry import events as telemetry

_STOP_SECONDS = 2.0
_JSON = "application/json"
# What failed to be extended may be deleted before the next try, and then no recovery is told.
_EXTEND = "ChangeMessageVisibilityBatch"

Answer = tuple[int, bytes, str]
Page = Callable[[str], Answer]
Render = Callable[[str], tuple[bytes, str]]


class Listen(Protocol):
    """Where to serve, and within which bounds."""

    @property
    def host(self) -> str:
        """An address or a name."""

    @property
    def port(self) -> int:
        """0 takes any free one."""

    @property
    def max_connections(self) -> int:
        """Connections at a time."""

    @property
    def request_timeout_seconds(self) -> float:
        """How long a connection may be open."""


class Health:
    """A listener that knows whether the consumer works.

    `poll_is_overdue` tells whether a receive is open past its deadline.
    """

    def __init__(self, poll_is_overdue: Callable[[], bool]) -> None:
        self._poll_is_overdue = poll_is_overdue
        self._started = False
        self._stopping = False
        self._failing: dict[str, str] = {}

    def not_alive(self) -> list[str]:
        """Return why a restart is due; empty if none is."""
        return ["a receive is open past its deadline"] if self._poll_is_overdue() else []

    def not_ready(self) -> list[str]:
        """Return what is in the way, in codes only; empty if nothing is."""
        reasons = [] if self._started else ["starting"]
        if self._stopping:
            reasons.append("stopping")
        reasons += (f"{what}: {code}" for what, code in sorted(self._failing.items()))
        return reasons

    def listen(self, event: telemetry.TelemetryEvent) -> None:
        """Take in an event; a listener of the pipeline."""
        match event:
            case telemetry.PollersChanged() if not self._started:
                self._started = True
                self._failing.clear()  # of the start: it has reached both
            case telemetry.QueueFailed() if event.operation != _EXTEND:
                self._failing[event.operation] = event.code
            case telemetry.QueueRecovered():
                self._failing.pop(event.operation, None)
            case telemetry.WriteFailed():
                self._failing["database"] = event.sqlstate
            case telemetry.Committed():
                self._failing.pop("database", None)
            case telemetry.KeyRingReadFailed():
                self._failing["key ring"] = event.code
            case telemetry.KeyRingLoaded():
                self._failing.pop("key ring", None)
            case telemetry.Stopping():
                self._stopping = True
            case _:
                pass


def _pages(health: Health, render: Render) -> Mapping[str, Page]:

    def metrics(accept: str) -> Answer:
        body, content_type = render(accept)
        return 200, body, content_type

    return {
        "/healthz": lambda _: _status("failing", health.not_alive()),
        "/readyz": lambda _: _status("unready", health.not_ready()),
        "/metrics": metrics,
    }


def _status(otherwise: str, reasons: list[str]) -> Answer:
    if not reasons:
        return 200, json.dumps({"status": "ok"}).encode(), _JSON
    return 503, json.dumps({"status": otherwise, "reasons": reasons}).encode(), _JSON


@asynccontextmanager
async def serve_http(listen: Listen, health: Health, render: Render) -> AsyncIterator[int]:
    """Answer GET and HEAD while the context lasts; yield the port.

    A connection carries one request and is closed after `request_timeout_seconds`, whether its
    client was slow to ask or to read; one too many is closed at once. `render` gives the metrics
    and their content type, by what a client accepts.

    Raises:
        SettingsError: this address and port cannot be listened on.
    """
    pages = _pages(health, render)
    http = web.Server(
        lambda request: _answer(request, pages),
        access_log=None,
        logger=_silent_logger(),
        keepalive_timeout=0,
        lingering_time=0,
    )
    open_connections: set[_Connection] = set()

    def accept() -> _Connection:
        return _Connection(
            http(), open_connections, listen.max_connections, listen.request_timeout_seconds
        )

    listener = await _listener(accept, listen.host, listen.port)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for connection in list(open_connections):
            connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await http.shutdown(_STOP_SECONDS)
                await listener.wait_closed()


async def _listener(accept: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(accept, host, port)
    except OSError as error:
        known = error.errno is not None and error.errno > 0  # of a name lookup it is below
        reason = os.strerror(error.errno or 0) if known else "no such address"
        if error.errno == errno.EADDRINUSE:
            reason += "; set http.port to a free one, or to 0 for any"
        raise SettingsError(f"http.host {host}, http.port {port}: {reason}") from None


async def _answer(request: web.BaseRequest, pages: Mapping[str, Page]) -> web.Response:
    page = pages.get(request.path)
    if page is None:
        response = web.Response(status=404)
    elif request.method not in ("GET", "HEAD"):
        response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
    elif request.body_exists:
        response = web.Response(status=413)
    else:
        status, body, content_type = page(request.headers.get("Accept", ""))
        response = web.Response(status=status, body=body, headers={"Content-Type": content_type})
    response.force_close()
    return response


def _silent_logger() -> logging.Logger:
    """A logger for aiohttp that drops all: whoever reaches the port must not fill the log."""
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
