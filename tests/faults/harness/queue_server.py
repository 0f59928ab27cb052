"""The queue in a process of its own: it is fed here, misbehaves as asked, and remembers."""

import asyncio
import gc
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import uvloop

from devkit.sqs import (
    Code,
    Draft,
    InjectedFault,
    Queue,
    RefuseEntries,
    Request,
    SqsServer,
    StoredMessage,
)
from tests.history.marked import Marks, marked_bodies
from tests.history.steps import Entry, Sent, Step

_QUEUE = "login-events"
_TICK_SECONDS = 0.02
_DELETE = "DeleteMessageBatch"


@dataclass(frozen=True)
class RefuseSome:
    """Refuse this share of a batch's entries."""

    code: Code
    share: float


@dataclass(frozen=True)
class BringBack:
    """Delete, and deliver again after `seconds`: SQS keeps copies, and one may have missed it."""

    seconds: float


@dataclass(frozen=True)
class Trouble:
    """What befalls this share of the calls; of all operations if none is named."""

    kind: InjectedFault | RefuseSome | BringBack
    share: float = 1.0
    operations: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Feed:
    """What is sent: so many messages a second, `count` at most; a share of them is invalid.

    They need not be `remembered` if they are not compared at the end.
    """

    seed: int
    a_second: float
    count: int
    invalid_share: float = 0.02
    remembered: bool = True


@dataclass(frozen=True)
class Sample:
    """What the queue knows at this moment; counts are since its start.

    `returning` are deleted, and will be delivered again.
    """

    sent: int
    deleted: int
    visible: int
    in_flight: int
    returning: int
    calls: int


@dataclass
class _Record:
    """What was sent, when a delete of each was first asked for, and how many came twice by then."""

    sent_count: int = 0
    sent: list[Sent] = field(default_factory=list)
    deleted_at: dict[str, float] = field(default_factory=dict)
    delivered_again: int = 0


class QueueServer:
    """Answers what `RemoteQueue` asks; a method for each question."""

    def __init__(self, server: SqsServer, visibility_seconds: int, seed: int) -> None:
        self._server = server
        self.url = server.create_queue(_QUEUE, {"VisibilityTimeout": str(visibility_seconds)})
        self._record = _Record()
        self._remembers = True
        self._troubles: tuple[Trouble, ...] = ()
        self._rng = random.Random(seed)  # noqa: S311 reproducible
        self._feeding: asyncio.Task[None] | None = None
        self._later: set[asyncio.TimerHandle] = set()
        server.fault_for = self._fault_for

    @property
    def _queue(self) -> Queue:
        return self._server.queue(_QUEUE)

    def port(self) -> int:
        """Where the queue listens."""
        return int(self._server.endpoint_url.rpartition(":")[2])

    def queue_url(self) -> str:
        """The queue's URL; its host is to be replaced by a proxy's."""
        return self.url

    def trouble(self, *troubles: Trouble) -> None:
        """Misbehave so from now on; without any, behave."""
        self._troubles = troubles

    def feed(self, feed: Feed) -> None:
        """Begin to send."""
        self._remembers = feed.remembered
        self._feeding = asyncio.create_task(self._feed(feed))

    def stop_feeding(self) -> None:
        """Send no more."""
        if self._feeding is not None:
            self._feeding.cancel()

    def send(self, bodies: Sequence[str]) -> None:
        """Send these at once."""
        for body in bodies:
            self._send(body)

    def sample(self) -> Sample:
        """Tell how things stand."""
        queue, sent = self._queue, self._record.sent_count
        visible, in_flight = queue.visible, queue.in_flight
        calls = sum(self._server.calls.values())
        return Sample(sent, sent - visible - in_flight, visible, in_flight, len(self._later), calls)

    def delivered_again(self) -> int:
        """Tell how many messages had been delivered more than once when their delete came."""
        return self._record.delivered_again

    def sent(self, first: int, count: int) -> Sequence[Sent]:
        """Tell of a part of the messages sent, in their order."""
        return self._record.sent[first : first + count]

    def deleted(self) -> Sequence[Entry]:
        """Tell when a delete of each message was first asked for, in that order."""
        return [
            Entry(Step.DELETED, message_id, at=at)
            for message_id, at in self._record.deleted_at.items()
        ]

    async def _feed(self, feed: Feed) -> None:
        rng = random.Random(feed.seed)  # noqa: S311 reproducible
        bodies = marked_bodies(rng, Marks(rng), feed.count, invalid_share=feed.invalid_share)
        started, sent = time.monotonic(), 0
        while sent < feed.count:
            due = min(feed.count, int((time.monotonic() - started) * feed.a_second))
            for _ in range(due - sent):
                self._send(next(bodies))
            sent = due
            await asyncio.sleep(_TICK_SECONDS)

    def _send(self, body: str) -> None:
        stored = self._queue.send(Draft.from_body(body))
        self._record.sent_count += 1
        if self._remembers:
            self._record.sent.append(Sent(stored.message_id, body, stored.sent_ms))

    def _fault_for(self, request: Request) -> InjectedFault | None:
        if request.operation == _DELETE and self._remembers:
            self._note_deletes(request)
        for trouble in self._troubles:
            concerned = not trouble.operations or request.operation in trouble.operations
            if concerned and self._rng.random() < trouble.share:
                return self._fault(trouble.kind, request)
        return None

    def _fault(
        self, kind: InjectedFault | RefuseSome | BringBack, request: Request
    ) -> InjectedFault | None:
        if isinstance(kind, RefuseSome):
            ids = [entry_id for entry_id, _ in _entries(request)]
            return RefuseEntries({i: kind.code for i in ids if self._rng.random() < kind.share})
        if isinstance(kind, BringBack):
            for message in self._messages(request):
                self._bring_back(message, kind.seconds)
            return None
        return kind

    def _bring_back(self, message: StoredMessage, seconds: float) -> None:
        def adopt() -> None:
            self._later.discard(timer)
            self._queue.adopt(message)

        timer = asyncio.get_running_loop().call_later(seconds, adopt)
        self._later.add(timer)

    def _note_deletes(self, request: Request) -> None:
        now, deleted_at = time.time(), self._record.deleted_at
        for message in self._messages(request):
            if message.message_id not in deleted_at:
                deleted_at[message.message_id] = now
                self._record.delivered_again += message.receive_count > 1

    def _messages(self, request: Request) -> Iterator[StoredMessage]:
        for _, handle in _entries(request):
            if message := self._queue.find(handle):
                yield message


def _entries(request: Request) -> Iterator[tuple[str, str]]:
    """The id and the receipt handle of each entry of a batch."""
    entries = request.parameters.get("Entries", ())
    assert isinstance(entries, Sequence)
    for entry in entries:
        assert isinstance(entry, dict)
        yield str(entry["Id"]), str(entry["ReceiptHandle"])


async def _answer(connection: Connection) -> None:
    """Answer one question after the other until the other end is closed."""
    visibility_seconds, seed = await asyncio.to_thread(connection.recv)
    async with SqsServer() as server:
        queue = QueueServer(server, visibility_seconds, seed)
        with suppress(EOFError):
            while True:
                name, arguments = await asyncio.to_thread(connection.recv)
                answer = getattr(queue, name)(*arguments)
                await asyncio.to_thread(connection.send, answer)


def main() -> None:
    """Run until the other end is closed of the socket whose number is the argument."""
    gc.disable()  # it would go through all messages again and again
    with Connection(int(sys.argv[1])) as link:
        uvloop.run(_answer(link))
