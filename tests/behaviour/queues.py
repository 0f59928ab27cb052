"""A Source over each of the two queues, with a clock that is moved by hand."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from consumer.pipeline.ports import Source
from consumer.sqs.api import Transport
from consumer.sqs.client import open_transport
from consumer.sqs.queue import QueueAddress
from consumer.sqs.sending import send_batch
from consumer.sqs.source import SqsSource
from consumer.telemetry.events import TelemetryEvent
from devkit.sqs import SqsServer
from tests.fakes.queue import MemoryQueue

VISIBILITY_SECONDS = 30
_WAIT_SECONDS = 20
_START = 1_700_000_000.0
_TIMEOUT_SECONDS = 30.0


class QueueUnderTest(Protocol):
    """A queue, and what a test does to it from outside."""

    @property
    def source(self) -> Source:
        """One that does not wait."""

    def waiting_source(self) -> Source:
        """One whose receive waits for a message for some seconds."""

    async def send(self, *bodies: str) -> None: ...

    def advance(self, seconds: float) -> None: ...

    def counts(self) -> tuple[int, int]:
        """How many messages are visible, and how many are in flight."""


@dataclass
class _Clock:
    now: float = _START

    def time(self) -> float:
        return self.now


@dataclass
class FakeQueue:
    clock: _Clock = field(default_factory=_Clock)

    def __post_init__(self) -> None:
        self._queue = MemoryQueue(
            visibility_seconds=VISIBILITY_SECONDS, wait_seconds=0, clock=self.clock.time
        )

    @property
    def source(self) -> Source:
        return self._queue

    def waiting_source(self) -> Source:
        self._queue.wait_seconds = _WAIT_SECONDS
        return self._queue

    async def send(self, *bodies: str) -> None:
        self._queue.send(*bodies)

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds

    def counts(self) -> tuple[int, int]:
        hidden = self._queue.hidden
        return self._queue.remaining - hidden, hidden


@dataclass
class RealQueue:
    server: SqsServer
    transport: Transport
    queue_url: str
    emitted: list[TelemetryEvent] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return self._source(wait_seconds=0)

    def waiting_source(self) -> Source:
        return self._source(wait_seconds=_WAIT_SECONDS)

    def _source(self, wait_seconds: int) -> Source:
        return SqsSource(
            self.transport,
            self.queue_url,
            wait_seconds=wait_seconds,
            call_timeout_seconds=_TIMEOUT_SECONDS,
            now=self.server.now,
            emit=self.emitted.append,
        )

    async def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            batch: Sequence[str] = bodies[start : start + 10]
            await send_batch(
                self.transport, self.queue_url, batch, timeout_seconds=_TIMEOUT_SECONDS
            )

    def advance(self, seconds: float) -> None:
        self.server.advance(seconds)

    def counts(self) -> tuple[int, int]:
        queue = self.server.queue("events")
        return queue.visible, queue.in_flight


@asynccontextmanager
async def real_queue() -> AsyncIterator[RealQueue]:
    async with SqsServer() as server:
        url = server.create_queue("events", {"VisibilityTimeout": str(VISIBILITY_SECONDS)})
        async with open_transport(QueueAddress(url, region="us-east-1")) as transport:
            yield RealQueue(server, transport, url)
