"""The heartbeat, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from consumer.messages import Message
from consumer.pipeline.in_flight import InFlight
from consumer.pipeline.retrying import Backoff, RetryState
from consumer.pipeline.visibility import Visibility
from consumer.telemetry import events as telemetry
from tests.fakes.queue import MemoryQueue, unavailable
from tests.fakes.virtual_time import run_virtually

_EXTEND = "ChangeMessageVisibilityBatch"


@dataclass
class World:
    """Messages in flight beside a queue, without a pipeline."""

    queue: MemoryQueue = field(default_factory=MemoryQueue)
    events: list[telemetry.TelemetryEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.in_flight = InFlight(1000, 1_000_000, 30)
        self.visibility = Visibility(
            source=self.queue,
            in_flight=self.in_flight,
            visibility_seconds=30,
            max_calls=4,
            retries=RetryState(
                _EXTEND, Backoff(0.2, 3.0, lambda _, high: high), self.events.append
            ),
            emit=self.events.append,
            clock=self.clock,
        )

    async def receive(self, count: int) -> list[Message]:
        self.queue.send(*(str(number) for number in range(count)))
        messages: list[Message] = []
        while len(messages) < count:
            messages += await self.queue.receive()
        self.in_flight.start_tracking(messages, self.clock())
        return messages

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        heartbeat = asyncio.create_task(self.visibility.heartbeat())
        try:
            yield
        finally:
            heartbeat.cancel()
            await asyncio.wait([heartbeat])

    def extensions(self) -> list[tuple[int, int]]:
        """When each call was made, in whole seconds, and how many messages it carried."""
        return [(round(c.at), c.count) for c in self.queue.calls if c.operation == _EXTEND]


def test_each_message_is_extended_at_half_of_its_timeout_until_it_is_tracked_no_longer() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            (message,) = await w.receive(1)
            await asyncio.sleep(50.0)
            assert w.extensions() == [(15, 1), (30, 1), (45, 1)]
            assert w.events == [telemetry.Extended(1)] * 3
            assert w.queue.hidden == 1
            w.in_flight.stop_tracking(message)
            await asyncio.sleep(100.0)
            assert len(w.extensions()) == 3

    run_virtually(scenario())


def test_ten_messages_share_a_call_with_those_that_are_due_soon() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            await w.receive(12)
            await asyncio.sleep(3.0)
            await w.receive(13)
            await asyncio.sleep(14.0)
            assert [count for _, count in w.extensions()] == [10, 10, 5]

    run_virtually(scenario())


def test_messages_share_a_call_if_they_are_due_within_an_eighth_of_the_timeout() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            await w.receive(1)
            await asyncio.sleep(3.6)
            await w.receive(1)
            await asyncio.sleep(0.4)
            await w.receive(1)
            await asyncio.sleep(14.0)
            assert w.extensions() == [(15, 2)]
            await asyncio.sleep(3.0)
            assert w.extensions() == [(15, 2), (19, 1)]

    run_virtually(scenario())


def test_a_message_that_became_due_during_a_slow_call_is_extended_right_after_it() -> None:
    async def scenario() -> None:
        w = World()
        w.queue.slow[_EXTEND] = 10.0
        async with w.beating():
            await w.receive(1)
            await asyncio.sleep(5.0)
            await w.receive(1)
            await asyncio.sleep(25.0)
            assert w.extensions() == [(15, 1), (25, 1)]

    run_virtually(scenario())


def test_a_message_that_arrives_while_nothing_is_in_flight_is_extended_in_time() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            await asyncio.sleep(14.0)
            await w.receive(1)
            await asyncio.sleep(20.0)
            assert w.extensions() == [(29, 1)]

    run_virtually(scenario())


def test_a_failed_extension_is_retried_before_the_timeout_ends() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            await w.receive(20)
            w.queue.fault = unavailable
            await asyncio.sleep(22.0)
            failed = len(w.extensions())
            assert 2 <= failed <= 12  # one call at a time, with pauses
            w.queue.fault = lambda _: None
            await asyncio.sleep(6.0)
            assert w.queue.hidden == 20
            await asyncio.sleep(10.0)
            assert w.queue.hidden == 20
        assert telemetry.QueueRecovered(_EXTEND) in w.events

    run_virtually(scenario())


def test_a_receipt_handle_that_expired_is_reported_once_and_not_extended_again() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            message, _ = await w.receive(2)
            w.queue.failing_entries[message.message_id] = ["ReceiptHandleIsInvalid"]
            await asyncio.sleep(50.0)
            assert w.extensions() == [(15, 2), (30, 1), (45, 1)]
        assert w.events.count(telemetry.ReceiptHandlesExpired(1)) == 1
        assert w.events.count(telemetry.Extended(1)) == 3

    run_virtually(scenario())


def test_where_every_receipt_handle_expired_nothing_is_reported_as_extended() -> None:
    async def scenario() -> None:
        w = World()
        async with w.beating():
            (message,) = await w.receive(1)
            w.queue.failing_entries[message.message_id] = ["ReceiptHandleIsInvalid"]
            await asyncio.sleep(50.0)
        assert w.events == [telemetry.ReceiptHandlesExpired(1)]

    run_virtually(scenario())


def test_many_are_extended_by_several_calls_at_a_time() -> None:
    async def scenario() -> None:
        w = World()
        w.queue.slow[_EXTEND] = 2.0
        async with w.beating():
            await w.receive(160)
            await asyncio.sleep(28.0)
            assert w.queue.hidden == 160
            await asyncio.sleep(28.0)
            assert w.queue.hidden == 160

    run_virtually(scenario())


def test_a_release_makes_everything_visible_and_counts_it() -> None:
    async def scenario() -> None:
        w = World()
        messages = await w.receive(25)
        w.queue.failing_entries[messages[3].message_id] = ["InternalError"]
        assert await w.visibility.release_all() == 25
        assert w.queue.hidden == 0
        assert sum(e.count for e in w.events if isinstance(e, telemetry.Released)) == 25
        assert [e.code for e in w.events if isinstance(e, telemetry.QueueFailed)] == [
            "InternalError"
        ]

    run_virtually(scenario())


def test_a_release_to_a_queue_that_is_down_makes_few_calls_and_ends() -> None:
    async def scenario() -> None:
        w = World()
        await w.receive(500)
        w.queue.fault = unavailable
        started = w.clock()
        assert await w.visibility.release_all() == 0
        assert len(w.extensions()) == 4 + 1 + 1
        # A pause after the first and the second attempt, and none after the last.
        pauses = [e.pause_seconds for e in w.events if isinstance(e, telemetry.QueueFailed)]
        assert sum(pauses[:2]) <= w.clock() - started < sum(pauses[:2]) + 0.1
        assert len(w.in_flight) == w.queue.hidden == 500

    run_virtually(scenario())


def test_a_release_goes_on_after_a_call_that_failed() -> None:
    async def scenario() -> None:
        w = World()
        await w.receive(500)
        failures = iter((True,))

        def throttled(operation: str) -> None:
            if next(failures, False):
                unavailable(operation)

        w.queue.fault = throttled
        assert await w.visibility.release_all() == 500
        assert w.queue.hidden == len(w.in_flight) == 0
        assert w.events.count(telemetry.QueueRecovered(_EXTEND)) == 1

    run_virtually(scenario())
