"""The way from the queue to the commit to the delete; read it from top to bottom.

    receive -> in flight -> batch -> validate and mask -> one statement, one COMMIT -> delete
                  `-- heartbeat: extends the visibility timeout until the message is deleted

Pollers, writers, deleters and the heartbeat are separate tasks: a slow database stops the pollers,
but never the deleters or the heartbeat. A message is deleted only after its commit.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    QueueError,
    StatementTooSlowError,
)
from consumer.messages import Message, Outcome, Reason, Row, Written
from consumer.pipeline.batching import Batcher, runs_of
from consumer.pipeline.in_flight import InFlight
from consumer.pipeline.limits import PipelineLimits
from consumer.pipeline.ports import MESSAGES_A_CALL, MessageTransform, Sink, Source
from consumer.pipeline.retrying import Backoff, RetryState, run_batch_call
from consumer.pipeline.visibility import Visibility
from consumer.telemetry import events as telemetry

# A receive of fewer messages shows that there are more pollers than the queue can fill. With one
# instead of half a receive, many pollers share a trickle for ever: none of them is ever empty.
_SPARSE_RECEIVE = MESSAGES_A_CALL // 2
# Validated and masked without a pause. Less, and the code leaves the processor's caches; more, and
# the event loop is blocked for longer than a millisecond or two.
_MESSAGES_PER_RUN = 150
_BYTES_PER_RUN = 32 * 1024


class Pipeline:
    """Carries messages from a source to a sink until it is stopped.

    `clock` must be the event loop's, in seconds; `uniform(a, b)` draws the jitter.
    """

    def __init__(
        self,
        *,
        source: Source,
        sink: Sink,
        transform: MessageTransform,
        limits: PipelineLimits,
        emit: telemetry.Listener,
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._source = source
        self._sink = sink
        self._transform = transform  # replaced by `transform_with`, read by writers
        self._limits = limits
        self._emit = emit
        self._clock = clock
        self._uniform = uniform
        self._in_flight = InFlight(
            limits.max_in_flight_messages, limits.max_in_flight_bytes, limits.visibility_seconds
        )
        self._visibility = self._new_visibility()
        # Pollers append new messages, writers take batches.
        self._batcher = Batcher(
            limits.max_batch_rows, limits.max_batch_bytes, limits.linger_seconds
        )
        # Committed messages. Writers append; deleters remove, and append what must be retried.
        self._to_delete: deque[Message] = deque()
        self._pollers = 0  # running pollers; they add others, and count themselves out
        self._deleters = 0  # likewise
        # When each open receive began: written by pollers, read by the watchdog.
        self._open_polls: dict[object, float] = {}
        # Written by pollers and by deleters; both read their own.
        self._receives = self._retry_state("ReceiveMessage")
        self._deletes = self._retry_state("DeleteMessageBatch")
        self._arrived = asyncio.Event()  # set by pollers, awaited by writers
        self._committed = asyncio.Event()  # set by writers, awaited by deleters
        # Set by deleters, by polls that end, and at a stop; awaited by pollers without room, and by
        # the drain.
        self._room_changed = asyncio.Event()

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def transform_with(self, transform: MessageTransform) -> None:
        """Use another transform for the next batch; batches that are masked already stay."""
        self._transform = transform

    def longest_poll_seconds(self) -> float:
        """How long the oldest open receive has been open; 0 if none is."""
        now = self._clock()
        return now - min(self._open_polls.values(), default=now)

    async def run(self, stop: asyncio.Event) -> None:
        """Carry messages until `stop` is set, as at SIGTERM, then leave nothing in flight.

        The order of the stop keeps the queue clean. Open polls finish first: the messages of a
        cancelled poll would stay hidden for a visibility timeout. Then everything in flight is
        committed and deleted. Only what exceeds the drain's time is released to the queue. The
        heartbeat ends last, because messages are in flight until then.
        """
        async with asyncio.TaskGroup() as tasks:
            heartbeat = tasks.create_task(self._visibility.heartbeat())
            writing = tasks.create_task(self._write_and_delete())
            async with asyncio.TaskGroup() as polls:
                self._add_poller(polls, stop)
                await stop.wait()
                self._emit(telemetry.Stopping(self.in_flight))
                self._room_changed.set()
            await self._drain()
            writing.cancel()
            await asyncio.wait([writing])
            released = await self._visibility.release_all()
            heartbeat.cancel()
        self._emit(telemetry.Stopped(released))

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_seconds):
                while self._in_flight:
                    self._room_changed.clear()
                    await self._room_changed.wait()

    def _add_poller(self, polls: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        self._pollers += 1
        self._emit(telemetry.PollersChanged(self._pollers))
        polls.create_task(self._poll(polls, stop))

    async def _poll(self, polls: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Receive until stopped, or until the other pollers are enough.

        A full receive adds a poller. A sparse or failed receive ends this poller, unless it is the
        last: one long poll is enough to notice new messages, and that the queue works again.
        """
        while await self._wait_for_room(stop):
            messages = await self._receive(stop)
            full = len(messages) == MESSAGES_A_CALL
            if full and self._pollers < self._limits.max_pollers:
                self._add_poller(polls, stop)
            elif len(messages) < _SPARSE_RECEIVE and self._pollers > 1:
                break
        self._pollers -= 1
        self._emit(telemetry.PollersChanged(self._pollers))

    async def _wait_for_room(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            if self._in_flight.open_poll():
                return True
            self._room_changed.clear()
            await self._room_changed.wait()
        return False

    async def _receive(self, stop: asyncio.Event) -> Sequence[Message]:
        started = self._clock()
        try:
            messages = await self._long_poll(started)
        except QueueError as error:
            pause_seconds = self._receives.failed(error)
            if self._pollers == 1:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_seconds):
                        await stop.wait()
            return ()
        self._receives.succeeded()
        self._start_tracking(messages, started)
        return messages

    async def _long_poll(self, started: float) -> Sequence[Message]:
        poll = object()
        self._open_polls[poll] = started
        messages: Sequence[Message] = ()
        try:
            messages = await self._source.receive()
        finally:
            del self._open_polls[poll]
            self._in_flight.close_poll(messages)
            self._room_changed.set()
        return messages

    def _start_tracking(self, messages: Sequence[Message], started: float) -> None:
        """Track messages as in flight, and queue the new ones for the writers."""
        now = self._clock()
        new = self._in_flight.start_tracking(messages, now)
        self._emit(telemetry.Received(len(messages), len(messages) - len(new), now - started))
        self._batcher.add(new, now)
        self._arrived.set()

    async def _write_and_delete(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._limits.writers):
                tasks.create_task(self._write())
            self._add_deleter(tasks)

    async def _write(self) -> None:
        """Write one batch after another; messages that arrive meanwhile form the next batch."""
        backoff = self._backoff()
        while True:
            messages = await self._next_batch()
            batch = await self._validate_and_mask(messages)
            await self._commit(batch, backoff)

    async def _next_batch(self) -> Sequence[Message]:
        while (wait_seconds := self._batcher.wait_seconds(self._clock())) != 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._arrived.wait()
        return self._batcher.take()

    async def _validate_and_mask(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for run in runs_of(messages, _MESSAGES_PER_RUN, _BYTES_PER_RUN):
            outcomes += self._transform.each(run)
            if len(outcomes) < len(messages):
                await asyncio.sleep(0)
        return outcomes

    async def _commit(self, batch: Sequence[Outcome], backoff: Backoff) -> None:
        """Write a batch until it is committed, then pass it to the deleters.

        If PostgreSQL refuses a row's data, the batch is halved until that row stands alone and is
        quarantined; its neighbours are committed in the same pass. A statement that takes too long
        is halved as well: the same one would take as long again.
        """
        while True:
            started = self._clock()
            try:
                written = await self._sink.write(batch)
            except DatabaseError as error:
                parts = self._split(batch, error)
                if not parts or isinstance(error, StatementTooSlowError):
                    await self._pause_writing(len(batch), error, backoff)
                if parts:
                    for part in parts:
                        await self._commit(part, backoff)
                    return
            else:
                if backoff.failing:
                    self._emit(telemetry.DatabaseRecovered())
                backoff.succeeded()
                self._pass_to_deleters(batch, written, self._clock() - started)
                return

    def _split(self, batch: Sequence[Outcome], error: DatabaseError) -> Sequence[Sequence[Outcome]]:
        """Return what to write instead of a batch; empty if the same batch must be retried."""
        if not isinstance(error, DataRejectedError | StatementTooSlowError):
            return ()
        if len(batch) > 1:
            self._emit(telemetry.Bisected(len(batch), error.sqlstate))
            middle = len(batch) // 2
            return (batch[:middle], batch[middle:])
        (outcome,) = batch
        if not isinstance(error, DataRejectedError) or not isinstance(outcome, Row):
            return ()
        reason = Reason.REJECTED_BY_DATABASE
        return ([self._transform.quarantine(outcome.message, reason, error.column)],)

    async def _pause_writing(self, count: int, error: DatabaseError, backoff: Backoff) -> None:
        refused = isinstance(error, DatabaseRefusedError | DataRejectedError)
        pause_seconds = backoff.pause_seconds(refused=refused)
        self._emit(
            telemetry.WriteFailed(count, error.sqlstate, refused, pause_seconds, error.advice)
        )
        await asyncio.sleep(pause_seconds)

    def _pass_to_deleters(self, batch: Sequence[Outcome], written: Written, seconds: float) -> None:
        messages = [outcome.message for outcome in batch]
        self._to_delete.extend(messages)
        self._committed.set()
        sent_ms = tuple(message.sent_ms for message in messages)
        self._emit(
            telemetry.Committed(
                written.rows, written.quarantined, written.duplicates, seconds, sent_ms
            )
        )
        for reason, count in written.quarantined.items():
            self._emit(telemetry.MessagesQuarantined(reason, count))

    def _add_deleter(self, deletes: asyncio.TaskGroup) -> None:
        self._deleters += 1
        deletes.create_task(self._delete(deletes))

    async def _delete(self, deletes: asyncio.TaskGroup) -> None:
        """Delete committed messages, until the other deleters are enough.

        While one call is open the next batch fills up: at low load a delete is immediate, under
        load every call carries ten. A full batch that waits adds a deleter. A failed call, or less
        than a full batch that waits, ends this deleter, unless it is the last.
        """
        while True:
            batch = await self._next_deletes()
            more = len(self._to_delete) >= MESSAGES_A_CALL and not self._deletes.failing
            if more and self._deleters < self._limits.max_deleters:
                self._add_deleter(deletes)
            succeeded = await self._delete_batch(batch)
            enough = not succeeded or len(self._to_delete) < MESSAGES_A_CALL
            if enough and self._deleters > 1:
                break
        self._deleters -= 1

    async def _next_deletes(self) -> Sequence[Message]:
        while not self._to_delete:
            self._committed.clear()
            await self._committed.wait()
        count = min(MESSAGES_A_CALL, len(self._to_delete))
        return self._in_flight.with_newest_handles(
            [self._to_delete.popleft() for _ in range(count)]
        )

    async def _delete_batch(self, batch: Sequence[Message]) -> bool:
        result = await run_batch_call(self._deletes.operation, self._source.delete(batch), batch)
        deleted = self._in_flight.finish(result.succeeded)
        expired = self._in_flight.finish(result.handle_expired)
        # Still in flight: what the queue refused, and what was redelivered with a new handle.
        self._to_delete.extend(self._in_flight.with_newest_handles(batch))
        if deleted:
            self._emit(telemetry.Deleted(deleted))
        if expired:
            self._emit(telemetry.ReceiptHandlesExpired(expired))
        self._room_changed.set()
        if result.error is None:
            self._deletes.succeeded()
            return True
        pause_seconds = self._deletes.failed(result.error)
        if self._deleters == 1:
            await asyncio.sleep(pause_seconds)
        return False

    def _new_visibility(self) -> Visibility:
        return Visibility(
            source=self._source,
            in_flight=self._in_flight,
            visibility_seconds=self._limits.visibility_seconds,
            max_calls=self._limits.max_extenders,
            retries=self._retry_state("ChangeMessageVisibilityBatch"),
            emit=self._emit,
            clock=self._clock,
        )

    def _retry_state(self, operation: str) -> RetryState:
        return RetryState(operation, self._backoff(), self._emit)

    def _backoff(self) -> Backoff:
        limits = self._limits
        return Backoff(limits.min_pause_seconds, limits.max_pause_seconds, self._uniform)
