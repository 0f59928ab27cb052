"""Extends the visibility timeout of messages in flight, and releases messages at a stop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence

from consumer.errors import QueueError
from consumer.messages import Message
from consumer.pipeline.in_flight import InFlight
from consumer.pipeline.ports import Source
from consumer.pipeline.retrying import RetryState, in_tens, run_batch_call
from consumer.telemetry import events as telemetry

# Enough for a throttled call, and few enough that a queue that is down does not delay a stop.
RELEASE_ATTEMPTS = 3
_RELEASED_SECONDS = 0


class Visibility:
    """The visibility timeout of the messages in flight: ten messages a call."""

    def __init__(
        self,
        *,
        source: Source,
        in_flight: InFlight,
        visibility_seconds: int,
        max_calls: int,
        retries: RetryState,
        emit: telemetry.Listener,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._in_flight = in_flight
        self._seconds = visibility_seconds
        self._max_calls = max_calls
        # Written by the heartbeat, and by `release_all` at a stop.
        self._retries = retries
        self._emit = emit
        self._clock = clock

    async def heartbeat(self) -> None:
        """Extend each message when half of its visibility timeout is over, until cancelled."""
        idle_seconds = self._seconds / 2
        slack_seconds = self._seconds / 8  # messages that are due this soon share the call
        while True:
            due_at = self._in_flight.next_extension()
            wait = idle_seconds if due_at is None else max(0.0, due_at - self._clock())
            await asyncio.sleep(wait)
            due = self._in_flight.due(self._clock() + slack_seconds)
            error = await self._call_in_tens(self._extend, due)
            if error is not None:
                await asyncio.sleep(self._retries.failed(error))

    async def release_all(self) -> int:
        """Make everything in flight visible to other consumers; return the number of messages.

        A queue that is down gets a few attempts. Its messages become visible when their visibility
        timeout ends.
        """
        held = len(self._in_flight)
        for attempts_left in reversed(range(RELEASE_ATTEMPTS)):
            error = await self._call_in_tens(self._release, self._in_flight.everything())
            if error is None:
                break
            pause_seconds = self._retries.failed(error)
            if attempts_left:
                await asyncio.sleep(pause_seconds)
        return held - len(self._in_flight)

    async def _call_in_tens(
        self,
        call: Callable[[Iterator[Sequence[Message]]], Coroutine[object, object, QueueError | None]],
        messages: Sequence[Message],
    ) -> QueueError | None:
        """Make the calls for all messages, some in parallel; return an error that ended it."""
        batches = list(in_tens(messages))
        left = iter(batches)
        most_calls = 1 if self._retries.failing else self._max_calls
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(call(left)) for _ in batches[:most_calls]]
        return next((error for each in calls if (error := each.result())), None)

    async def _extend(self, batches: Iterator[Sequence[Message]]) -> QueueError | None:
        """Extend batch after batch; return the error that ended it."""
        for batch in batches:
            now = self._clock()
            call = self._source.extend(batch, self._seconds)
            result = await run_batch_call(self._retries.operation, call, batch)
            for message in result.succeeded:
                self._in_flight.extended(message, now)
            expired = sum(map(self._in_flight.handle_expired, result.handle_expired))
            if result.succeeded:
                self._emit(telemetry.Extended(len(result.succeeded)))
            if expired:
                self._emit(telemetry.ReceiptHandlesExpired(expired))
            if result.error is not None:
                return result.error
            self._retries.succeeded()
        return None

    async def _release(self, batches: Iterator[Sequence[Message]]) -> QueueError | None:
        """Release batch after batch and stop tracking it; return the error that ended it."""
        for batch in batches:
            call = self._source.extend(batch, _RELEASED_SECONDS)
            result = await run_batch_call(self._retries.operation, call, batch)
            # A message whose handle expired is visible already.
            for message in (*result.succeeded, *result.handle_expired):
                self._in_flight.stop_tracking(message)
            if result.succeeded:
                self._emit(telemetry.Released(len(result.succeeded)))
            if result.error is not None:
                return result.error
            self._retries.succeeded()
        return None
