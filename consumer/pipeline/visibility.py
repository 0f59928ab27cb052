"""Keeps messages hidden from other consumers while they are held, or shows them again."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence

from consumer.errors import QueueError
from consumer.messages import Message
from consumer.pipeline.in_flight import InFlight
from consumer.pipeline.ports import Source
from consumer.pipeline.retrying import RetryState, in_tens, run_batch_call
from consumer.telemetry import events as telemetry

# Enough to extend 4,000 messages within half of a visibility timeout of 30 s at 100 ms a call.
_OPEN_CALLS = 4
# Before a stop ends all the same: enough for a throttled call, and few for a queue that is down.
_GIVE_BACK_TRIES = 3


class Visibility:
    """Extends what is in flight by the queue's own visibility timeout, ten messages a call."""

    def __init__(
        self,
        *,
        source: Source,
        in_flight: InFlight,
        visibility_seconds: int,
        tries: RetryState,
        emit: telemetry.Listener,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._in_flight = in_flight
        self._seconds = visibility_seconds
        self._tries = tries
        self._emit = emit
        self._clock = clock

    async def heartbeat(self) -> None:
        """Extend each message when half of its time is over, until cancelled."""
        idle_seconds = self._seconds / 2
        slack_seconds = self._seconds / 8  # what is due so soon goes along
        while True:
            due_at = self._in_flight.next_extension()
            wait = idle_seconds if due_at is None else max(0.0, due_at - self._clock())
            await asyncio.sleep(wait)
            due = self._in_flight.due(self._clock() + slack_seconds)
            error = await self._in_tens(self._extend, due)
            if error is not None:
                await asyncio.sleep(self._tries.failed(error))

    async def release_all(self) -> int:
        """Show to other consumers at once what is still held; return how many messages go there.

        What a queue that is down does not take is tried a few times, and then shows by itself when
        its visibility timeout is over.
        """
        held = len(self._in_flight)
        for tries_left in reversed(range(_GIVE_BACK_TRIES)):
            error = await self._in_tens(self._show, self._in_flight.everything())
            if error is None:
                break
            pause_seconds = self._tries.failed(error)
            if tries_left:
                await asyncio.sleep(pause_seconds)
        return held - len(self._in_flight)

    async def _in_tens(
        self,
        call: Callable[[Iterator[Sequence[Message]]], Coroutine[object, object, QueueError | None]],
        messages: Sequence[Message],
    ) -> QueueError | None:
        """Make calls for all messages, some at a time; return an error that ended it early."""
        batches = list(in_tens(messages))
        left = iter(batches)
        most_calls = 1 if self._tries.failing else _OPEN_CALLS
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(call(left)) for _ in batches[:most_calls]]
        return next((error for each in calls if (error := each.result())), None)

    async def _extend(self, batches: Iterator[Sequence[Message]]) -> QueueError | None:
        """Extend batch after batch; return the error that ended it early."""
        for batch in batches:
            now = self._clock()
            call = self._source.extend(batch, self._seconds)
            answer = await run_batch_call(self._tries.operation, call, batch)
            for message in answer.done:
                self._in_flight.extended(message, now)
            lapsed = sum(self._in_flight.lapsed(message) for message in answer.void)
            if answer.done:
                self._emit(telemetry.Extended(len(answer.done)))
            if lapsed:
                self._emit(telemetry.ReceiptHandlesExpired(lapsed))
            if answer.error is not None:
                return answer.error
            self._tries.worked()
        return None

    async def _show(self, batches: Iterator[Sequence[Message]]) -> QueueError | None:
        """Show batch after batch, and let go of it; return the error that ended it early."""
        for batch in batches:
            answer = await run_batch_call(
                self._tries.operation, self._source.extend(batch, 0), batch
            )
            for message in (*answer.done, *answer.void):  # what is void is visible already
                self._in_flight.forget(message)
            if answer.done:
                self._emit(telemetry.Released(len(answer.done)))
            if answer.error is not None:
                return answer.error
            self._tries.worked()
        return None
