"""The server: it takes requests, runs their operations, and lets receives wait.

A test double: it keeps nothing on disk and checks no signature. Do not serve it to others.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from devkit.sqs.account import Account
from devkit.sqs.errors import SqsError
from devkit.sqs.faults import (
    AnswerError,
    Delay,
    DeliverTwice,
    Disconnect,
    InjectedFault,
    RefuseEntries,
)
from devkit.sqs.http import HttpConnection, HttpRequest, HttpResponse
from devkit.sqs.long_polls import LongPolls
from devkit.sqs.message_operations import receive
from devkit.sqs.protocols import JsonProtocol, QueryProtocol, WireProtocol, is_json
from devkit.sqs.queue import Queue
from devkit.sqs.requests import Json, Receive, Request, queue_url, read

ProtocolName = Literal["json", "query"]

_JSON, _QUERY = JsonProtocol(), QueryProtocol()


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request and the way to answer it, with the fault that is injected into it."""

    connection: HttpConnection
    protocol: WireProtocol
    request: Request
    fault: InjectedFault | None

    def succeed(self, result: Json) -> None:
        if isinstance(self.fault, AnswerError):
            self.fail(SqsError(self.fault.code, "A fault was injected here."))
        elif isinstance(self.fault, Disconnect):
            self.connection.abort()
        else:
            self.connection.respond(self.protocol.result(self.request.operation, result))

    def fail(self, error: SqsError) -> None:
        self.connection.respond(self.protocol.error(error))


class SqsServer:
    """An SQS server in this process; an async context manager. Port 0 is a free one.

    A test looks at it and steers it: `queue` gives a queue with its messages and counts, `advance`
    moves the clock, `fault_for` is asked before each request for the fault to inject, `calls`
    counts requests by operation.

    With one of the `protocols` alone the server is as old,
    or as new, as those that know no other.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        protocols: Collection[ProtocolName] = ("json", "query"),
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.fault_for: Callable[[Request], InjectedFault | None] | None = None
        self._host = host
        self._port = port
        self._advanced_seconds = 0.0
        self._protocols = protocols
        self._polls = LongPolls(self.now)
        self._account = Account(lambda: int(self.now() * 1000), self._polls.wake)
        self._connections: set[HttpConnection] = set()
        self._polling: dict[HttpConnection, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen; raises OSError if the port is taken, or is not ours to take."""
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self._on_request, self._connections.add, self._on_lost),
            self._host,
            self._port,
        )
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop: waiting receives get no answer, open connections are closed."""
        assert self._listener is not None
        self._listener.close()
        polls = list(self._polling.values())
        for connection in list(self._connections):
            connection.abort()
        await self._listener.wait_closed()
        # connection_lost is called in the loop's next turn, and cancels a poll.
        while self._connections:  # noqa: ASYNC110 it is at most one turn
            await asyncio.sleep(0)
        await asyncio.gather(*polls, return_exceptions=True)

    @property
    def endpoint_url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def create_queue(self, name: str, attributes: Mapping[str, str] | None = None) -> str:
        """Create a queue and return its URL; raises SqsError as CreateQueue."""
        return queue_url(self.endpoint_url, self._account.create_queue(name, attributes or {}).name)

    def queue(self, name: str) -> Queue:
        """Return a queue, to look at and to fill; raises SqsError if there is none."""
        return self._account.queue(name)

    def now(self) -> float:
        """The server's time, in seconds since the epoch."""
        return time.time() + self._advanced_seconds

    def advance(self, seconds: float) -> None:
        """Move the server's clock forward."""
        self._advanced_seconds += seconds
        self._polls.wake()

    def _on_lost(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if poll := self._polling.pop(connection, None):
            poll.cancel()

    def _on_request(self, connection: HttpConnection, http: HttpRequest) -> None:
        if (http.method, http.target) == ("GET", "/health"):
            connection.respond(HttpResponse(200, "text/plain", b"ok\n"))
            return
        # A server of one protocol takes everything as a request in it, however malformed.
        speaks_json = "json" in self._protocols and (is_json(http) or len(self._protocols) == 1)
        protocol: WireProtocol = _JSON if speaks_json else _QUERY
        try:
            operation, parameters = protocol.read(http)
        except SqsError as error:
            connection.respond(protocol.error(error))
            return
        self.calls[operation] += 1
        host = http.header(b"host")
        request = Request(operation, parameters, f"http://{host}" if host else self.endpoint_url)
        fault = self.fault_for(request) if self.fault_for else None
        exchange = _Exchange(connection, protocol, request, fault)
        if isinstance(fault, Delay):
            asyncio.get_running_loop().call_later(fault.seconds, self._act, exchange)
        else:
            self._act(exchange)

    def _act(self, exchange: _Exchange) -> None:
        request, fault = exchange.request, exchange.fault
        if isinstance(fault, AnswerError | Disconnect) and not fault.after_acting:
            exchange.succeed({})
            return
        if isinstance(fault, RefuseEntries):
            request = request._replace(refused_entries=fault.codes)
        try:
            if request.operation == "ReceiveMessage":
                self._receive(exchange)
            else:
                exchange.succeed(self._account.carry_out(request))
        except SqsError as error:
            exchange.fail(error)

    def _receive(self, exchange: _Exchange) -> None:
        """Answer with what is there, or wait; a client that has gone gets nothing."""
        queue = self._account.queue_of(exchange.request)
        asked = read(Receive, exchange.request.parameters)
        hide = not isinstance(exchange.fault, DeliverTwice)
        seconds = queue.settings.wait_seconds if asked.wait_seconds is None else asked.wait_seconds
        connection = exchange.connection

        def take() -> Json:
            return receive(queue, asked, hide=hide) if connection.is_open else {}

        async def wait() -> None:
            try:
                exchange.succeed(await self._polls.wait(queue, take, seconds))
            except SqsError as error:
                exchange.fail(error)

        if (result := take()) or not seconds:
            exchange.succeed(result)
        else:
            self._polling[connection] = asyncio.create_task(wait())
