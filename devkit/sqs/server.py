"""The server: it takes requests, runs their actions, and lets receives wait.

A test double: it keeps nothing on disk and checks no signature. Serve it to nobody but yourself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from devkit.sqs import message_actions, queue_actions
from devkit.sqs.account import Account
from devkit.sqs.calls import Call, queue_url
from devkit.sqs.connection import HttpConnection
from devkit.sqs.errors import UNKNOWN_OPERATION, Code, SqsError
from devkit.sqs.exchanges import Exchange, ProtocolName, exchange_of
from devkit.sqs.faults import (
    AnswerError,
    Delay,
    DeliverTwice,
    Disconnect,
    Fault,
    PlaceFault,
    RefuseEntries,
    Request,
)
from devkit.sqs.framing import Head
from devkit.sqs.long_polls import LongPolls, Poll
from devkit.sqs.messages import Received
from devkit.sqs.parameters import Json, Parameters
from devkit.sqs.queue import Limits, Queue
from devkit.sqs.receiving import receive_of

# What is None has no result, which the query protocol tells from an empty one.
_ACTIONS: Mapping[str, Callable[[Call], Json]] = {
    "ChangeMessageVisibility": message_actions.change_message_visibility,
    "ChangeMessageVisibilityBatch": message_actions.change_message_visibility_batch,
    "CreateQueue": queue_actions.create_queue,
    "DeleteMessage": message_actions.delete_message,
    "DeleteMessageBatch": message_actions.delete_message_batch,
    "DeleteQueue": queue_actions.delete_queue,
    "GetQueueAttributes": queue_actions.get_queue_attributes,
    "GetQueueUrl": queue_actions.get_queue_url,
    "ListDeadLetterSourceQueues": queue_actions.list_dead_letter_source_queues,
    "ListMessageMoveTasks": queue_actions.list_message_move_tasks,
    "ListQueueTags": queue_actions.list_queue_tags,
    "ListQueues": queue_actions.list_queues,
    "PurgeQueue": queue_actions.purge_queue,
    "SendMessage": message_actions.send_message,
    "SendMessageBatch": message_actions.send_message_batch,
    "SetQueueAttributes": queue_actions.set_queue_attributes,
    "StartMessageMoveTask": queue_actions.start_message_move_task,
    "TagQueue": queue_actions.tag_queue,
    "UntagQueue": queue_actions.untag_queue,
}
_RECEIVE = "ReceiveMessage"


class SqsServer:
    """An SQS server in this process, for tests and development; an async context manager.

    `calls` counts the calls by operation, `empty_receives` those receives that answered nothing.
    `place_fault` is asked before each call which fault, if any, is to befall it. `clock` returns
    seconds since the epoch; who moves it by hand calls `wake` then. Port 0 is a free one. With one
    of the `protocols` alone it is as old, or as new, as servers and clients that know no other.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        limits: Limits | None = None,
        region: str = "us-east-1",
        protocols: Collection[ProtocolName] = ("json", "query"),
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.empty_receives = 0
        self.place_fault: PlaceFault | None = None
        self._host = host
        self._port = port
        self._protocols = protocols
        self._account = Account(clock, limits or Limits(), region)
        self._polls = LongPolls(clock)
        self._connections: dict[HttpConnection, Poll | None] = {}
        self._delayed: set[asyncio.TimerHandle] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken, or is not ours to take.
        """
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self._on_request, self._on_made, self._on_lost),
            self._host,
            self._port,
        )
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: waiting receives get no answer, open connections are closed."""
        assert self._listener is not None
        self._listener.close()
        self._polls.close()
        for timer in self._delayed:
            timer.cancel()
        for connection in list(self._connections):
            connection.abort()
        await self._listener.wait_closed()
        # connection_lost is called in the loop's next turn.
        while self._connections:  # noqa: ASYNC110 - it is at most one turn
            await asyncio.sleep(0)

    @property
    def endpoint_url(self) -> str:
        """The URL to give to clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def create_queue(self, name: str, attributes: Mapping[str, str] | None = None) -> str:
        """Create a queue and return its URL.

        Raises:
            SqsError: as CreateQueue.
        """
        return queue_url(self.endpoint_url, self._account.create_queue(name, attributes or {}).name)

    def queue(self, name: str) -> Queue:
        """Return a queue, to look at.

        Raises:
            SqsError: there is none of this name.
        """
        return self._account.queue(name)

    def reset_calls(self) -> None:
        """Count from zero again."""
        self.calls.clear()
        self.empty_receives = 0

    def wake(self) -> None:
        """Let waiting receives see that the clock was moved."""
        self._polls.wake()

    def _on_made(self, connection: HttpConnection) -> None:
        self._connections[connection] = None

    def _on_lost(self, connection: HttpConnection) -> None:
        poll = self._connections.pop(connection)
        if poll is not None:
            self._polls.remove(poll)

    def _on_request(self, connection: HttpConnection, head: Head, body: bytes) -> None:
        if head.method == "GET" and head.target == "/health":
            connection.respond(200, "text/plain", b"ok\n", {})
            return
        exchange = exchange_of(connection, head, body, self.endpoint_url, self._protocols)
        self.calls[exchange.operation] += 1
        try:
            parameters = exchange.parameters()
            fault = self._fault(exchange.operation, parameters)
        except SqsError as error:
            exchange.fail(error)
            return
        if isinstance(fault, Delay):
            self._act_later(exchange, parameters, fault.seconds)
        else:
            self._act(exchange, parameters, fault)

    def _fault(self, operation: str, parameters: Parameters) -> Fault | None:
        if self.place_fault is None:
            return None
        return self.place_fault(Request(operation, parameters))

    def _act_later(self, exchange: Exchange, parameters: Parameters, seconds: float) -> None:
        def act() -> None:
            self._delayed.discard(timer)
            self._act(exchange, parameters, None)

        timer = asyncio.get_running_loop().call_later(seconds, act)
        self._delayed.add(timer)

    def _act(self, exchange: Exchange, parameters: Parameters, fault: Fault | None) -> None:
        answer = _answering(exchange, fault)
        if isinstance(fault, AnswerError | Disconnect) and not fault.after_acting:
            answer({})
            return
        refused: Mapping[str, Code] = fault.codes if isinstance(fault, RefuseEntries) else {}
        call = Call(self._account, parameters, exchange.base_url, refused)
        try:
            if exchange.operation == _RECEIVE:
                self._receive(exchange, call, answer, hide=not isinstance(fault, DeliverTwice))
            elif action := _ACTIONS.get(exchange.operation):
                answer(action(call))
            else:
                raise SqsError(  # noqa: TRY301 - told like any other error
                    UNKNOWN_OPERATION, f"There is no operation {exchange.operation} here."
                )
        except SqsError as error:
            exchange.fail(error)
        self._polls.wake()

    def _receive(
        self, exchange: Exchange, call: Call, answer: Callable[[Json], None], *, hide: bool
    ) -> None:
        """Answer with what is there, or wait; a client that has gone gets nothing."""
        receive = receive_of(call, hide=hide)
        connection = exchange.connection
        if not connection.is_open:
            return
        received = receive.take()
        if received or not receive.wait_seconds:
            self.empty_receives += not received
            answer(receive.answer(received))
            return

        def done(result: Sequence[Received] | SqsError) -> None:
            self._connections[connection] = None
            if isinstance(result, SqsError):
                exchange.fail(result)
                return
            self.empty_receives += not result
            answer(receive.answer(result))

        self._connections[connection] = self._polls.add(receive, done, lambda: connection.is_open)


def _answering(exchange: Exchange, fault: Fault | None) -> Callable[[Json], None]:
    """Return what is to be done with the result of the action."""
    if isinstance(fault, AnswerError):
        error = SqsError(fault.code, "A fault was placed here.")
        return lambda _: exchange.fail(error)
    if isinstance(fault, Disconnect):
        return lambda _: exchange.connection.abort()
    return exchange.succeed
