"""The way from the queue to the commit to the delete; read it from top to bottom.

    receive -> hold -> validate and mask -> batch -> one statement, one COMMIT -> delete -> let go
                 `-- heartbeat: keeps it invisible until it is deleted or given back

Each stage is its own task and waits for nothing but the stage before it: a slow database stops the
receiving, and never the deleting or the heartbeat.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from consumer import hooks
from consumer.backoff import Backoff
from consumer.batching import Batcher
from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    QueueError,
    QueueRefusedError,
)
from consumer.inflight import InFlight
from consumer.messages import Message, Outcome, Quarantined, Reason, Row, Written

# SQS takes and gives at most ten messages a call (Amazon SQS message quotas).
MESSAGES_A_CALL = 10
# A receive of fewer messages shows that there are more pollers than the queue can feed.
_SPARSE_RECEIVE = 5
# Enough to extend 4,000 messages within half of a visibility timeout of 30 s at 100 ms a call.
_EXTENDERS = 4
# Bodies decoded in one go: bounds how long the event loop stands still.
_BYTES_A_SLICE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that a batch call did not act on.

    `final`: the receipt handle is void, so trying again is of no use and the message will come
    again; otherwise the fault is the queue's and the call may be repeated.
    """

    message: Message
    code: str
    final: bool


class Source(Protocol):
    """A queue. Each call ends by its own deadline and raises QueueError if it failed as a whole."""

    async def receive(self) -> Sequence[Message]:
        """Long-poll once for up to ten messages."""

    async def delete(self, messages: Sequence[Message]) -> Sequence[Refused]:
        """Delete up to ten messages; return those that were not."""

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[Refused]:
        """Hide up to ten messages for `seconds` from now (0: show them); return the refused."""


class Sink(Protocol):
    """A database."""

    async def write(self, batch: Sequence[Outcome]) -> Written:
        """Commit a batch, each message once however often it is written.

        Raises:
            DataRejectedError: a row's data was refused; nothing of the batch was committed.
            DatabaseRefusedError: someone has to act first; nothing was committed.
            DatabaseError: the batch may or may not be committed and is to be written again.
        """


class Transform(Protocol):
    """What becomes of a message, as a pure function."""

    def __call__(self, message: Message) -> Outcome:
        """Validate and mask a message."""

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        """Seal a message that cannot be a row."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a pipeline; `visibility_seconds` is the queue's own VisibilityTimeout."""

    visibility_seconds: int
    max_pollers: int
    max_deleters: int
    writers: int
    max_in_flight_messages: int
    max_in_flight_bytes: int
    max_batch_rows: int
    max_batch_bytes: int
    linger_seconds: float
    min_pause_seconds: float
    max_pause_seconds: float
    drain_seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a batch call ended: acted on, handle void, to be tried again, and the error if any."""

    done: Sequence[Message]
    void: Sequence[Message]
    left: Sequence[Message]
    error: QueueError | None


async def _answer(
    operation: str, call: Awaitable[Sequence[Refused]], messages: Sequence[Message]
) -> _Answer:
    try:
        refused = {each.message.message_id: each for each in await call}
    except QueueError as error:
        return _Answer((), (), messages, error)
    if not refused:
        return _Answer(messages, (), (), None)
    done = [m for m in messages if m.message_id not in refused]
    void = [each.message for each in refused.values() if each.final]
    left = [each for each in refused.values() if not each.final]
    failure = QueueError(operation, left[0].code) if left else None
    return _Answer(done, void, [each.message for each in left], failure)


def _in_tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (
        messages[start : start + MESSAGES_A_CALL]
        for start in range(0, len(messages), MESSAGES_A_CALL)
    )


class Pipeline:
    """Carries messages from a source to a sink until told to stop.

    `clock` must be the event loop's, in seconds; `uniform(a, b)` draws the jitter.
    """

    def __init__(
        self,
        *,
        source: Source,
        sink: Sink,
        transform: Transform,
        limits: Limits,
        emit: hooks.Listener,
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._source = source
        self._sink = sink
        self._transform = transform
        self._limits = limits
        self._emit = emit
        self._clock = clock
        self._uniform = uniform
        self._in_flight = InFlight(
            limits.max_in_flight_messages,
            limits.max_in_flight_bytes,
            limits.visibility_seconds,
            MESSAGES_A_CALL,
        )
        self._batcher = Batcher(
            limits.max_batch_rows, limits.max_batch_bytes, limits.linger_seconds
        )
        self._deletable: deque[Message] = deque()
        self._pollers = 0
        self._deleters = 0
        self._open_polls: dict[object, float] = {}
        self._receive_backoff = self._backoff()
        self._delete_backoff = self._backoff()
        self._extend_backoff = self._backoff()
        self._arrived = asyncio.Event()  # set by pollers, awaited by writers
        self._committed = asyncio.Event()  # set by writers, awaited by deleters
        self._released = asyncio.Event()  # set by deleters, awaited by pollers and the drain

    @property
    def in_flight(self) -> int:
        """How many messages are held."""
        return len(self._in_flight)

    def longest_poll_seconds(self) -> float:
        """Tell for how long the oldest open receive has been open; 0 if none is."""
        now = self._clock()
        return now - min(self._open_polls.values(), default=now)

    async def run(self, stop: asyncio.Event) -> None:
        """Carry messages until `stop` is set, then leave none behind.

        The order of the end keeps the queue clean. Polls end first and by themselves: what an
        abandoned poll was given would stay hidden for a visibility timeout. Then all that is held
        is committed and deleted. Only what could not be in the drain's time is shown to others.
        The heartbeat ends last, for until then something is held.
        """
        async with asyncio.TaskGroup() as tasks:
            heartbeat = tasks.create_task(self._heartbeat())
            landing = tasks.create_task(self._write_and_delete())
            async with asyncio.TaskGroup() as polls:
                self._add_poller(polls, stop)
                await stop.wait()
                self._emit(hooks.Stopping(self.in_flight))
                self._released.set()
            await self._drained()
            landing.cancel()
            await asyncio.wait([landing])
            given_back = await self._give_back()
            heartbeat.cancel()
        self._emit(hooks.Stopped(given_back))

    # Receive.

    def _add_poller(self, polls: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        self._pollers += 1
        self._emit(hooks.PollersChanged(self._pollers))
        polls.create_task(self._poll(polls, stop))

    async def _poll(self, polls: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Receive until stopped, or until the other pollers are enough.

        A full receive adds a poller; a sparse or failed one retires this one, unless it is the
        last: one long poll is enough to see new messages, and that the queue is back.
        """
        while await self._room_for_a_poll(stop):
            messages = await self._receive(stop)
            full = len(messages) == MESSAGES_A_CALL
            if full and self._pollers < self._limits.max_pollers:
                self._add_poller(polls, stop)
            elif len(messages) < _SPARSE_RECEIVE and self._pollers > 1:
                break
        self._pollers -= 1
        self._emit(hooks.PollersChanged(self._pollers))

    async def _room_for_a_poll(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            if self._in_flight.open_poll():
                return True
            self._released.clear()
            await self._released.wait()
        return False

    async def _receive(self, stop: asyncio.Event) -> Sequence[Message]:
        started = self._clock()
        try:
            messages = await self._long_poll(started)
        except QueueError as error:
            pause_seconds = self._pause_after(error, self._receive_backoff)
            if self._pollers == 1:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_seconds):
                        await stop.wait()
            return ()
        self._works("ReceiveMessage", self._receive_backoff)
        await self._hold(messages, started)
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
        return messages

    async def _hold(self, messages: Sequence[Message], started: float) -> None:
        """Take messages in flight, and queue for the writers those that are new here."""
        now = self._clock()
        fresh = [message for message in messages if self._in_flight.admit(message, now)]
        size_bytes = sum(message.size for message in messages)
        self._emit(
            hooks.Received(len(messages), len(messages) - len(fresh), size_bytes, now - started)
        )
        decoded_bytes = 0
        for message in fresh:
            decoded_bytes += message.size
            if decoded_bytes > _BYTES_A_SLICE:
                decoded_bytes = message.size
                await asyncio.sleep(0)
            self._batcher.add(self._transform(message), now)
            self._arrived.set()

    # Commit.

    async def _write_and_delete(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._limits.writers):
                tasks.create_task(self._write())
            self._add_deleter(tasks)

    async def _write(self) -> None:
        """Write one batch after the other; what arrives meanwhile is the next one."""
        backoff = self._backoff()
        while True:
            batch = await self._next_batch()
            await self._commit(batch, backoff)

    async def _next_batch(self) -> Sequence[Outcome]:
        while (wait_seconds := self._batcher.wait_seconds(self._clock())) != 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._arrived.wait()
        return self._batcher.take()

    async def _commit(self, batch: Sequence[Outcome], backoff: Backoff) -> None:
        """Write a batch until it is committed, then hand it to the deleters.

        Where PostgreSQL refuses a row's data, the batch is halved until that row stands alone and
        is quarantined; its neighbours are committed in the same pass.
        """
        while True:
            started = self._clock()
            try:
                written = await self._sink.write(batch)
            except DatabaseError as error:
                if isinstance(error, DataRejectedError) and (parts := self._split(batch, error)):
                    for part in parts:
                        await self._commit(part, backoff)
                    return
                await self._pause_writing(len(batch), error, backoff)
            else:
                backoff.succeeded()
                self._hand_to_deleters(batch, written, self._clock() - started)
                return

    def _split(
        self, batch: Sequence[Outcome], error: DataRejectedError
    ) -> Sequence[Sequence[Outcome]]:
        """Return what to write instead of a refused batch; nothing if it cannot be helped."""
        if len(batch) > 1:
            self._emit(hooks.Bisected(len(batch), error.sqlstate))
            middle = len(batch) // 2
            return (batch[:middle], batch[middle:])
        (outcome,) = batch
        if not isinstance(outcome, Row):
            return ()
        reason = Reason.REJECTED_BY_DATABASE
        return ([self._transform.quarantine(outcome.message, reason, error.column)],)

    async def _pause_writing(self, count: int, error: DatabaseError, backoff: Backoff) -> None:
        refused = isinstance(error, DatabaseRefusedError | DataRejectedError)
        pause_seconds = backoff.pause_seconds(refused=refused)
        self._emit(hooks.WriteFailed(count, error.sqlstate, refused, pause_seconds))
        await asyncio.sleep(pause_seconds)

    def _hand_to_deleters(self, batch: Sequence[Outcome], written: Written, seconds: float) -> None:
        messages = [outcome.message for outcome in batch]
        self._deletable.extend(messages)
        self._committed.set()
        sent_ms = tuple(message.sent_ms for message in messages)
        self._emit(
            hooks.Committed(written.rows, written.quarantined, written.duplicates, seconds, sent_ms)
        )

    # Delete.

    def _add_deleter(self, deletes: asyncio.TaskGroup) -> None:
        self._deleters += 1
        deletes.create_task(self._delete(deletes))

    async def _delete(self, deletes: asyncio.TaskGroup) -> None:
        """Delete what is committed, until the other deleters are enough.

        While one call is open the next batch fills up: at low load a delete is immediate, under
        load every call carries ten. A full batch left over adds a deleter; a failed call, or less
        than a full batch left, retires this one, unless it is the last.
        """
        while True:
            batch = await self._next_deletes()
            more = len(self._deletable) >= MESSAGES_A_CALL and not self._delete_backoff.failing
            if more and self._deleters < self._limits.max_deleters:
                self._add_deleter(deletes)
            worked = await self._delete_batch(batch)
            enough = not worked or len(self._deletable) < MESSAGES_A_CALL
            if enough and self._deleters > 1:
                break
        self._deleters -= 1

    async def _next_deletes(self) -> Sequence[Message]:
        while not self._deletable:
            self._committed.clear()
            await self._committed.wait()
        count = min(MESSAGES_A_CALL, len(self._deletable))
        return self._in_flight.newest([self._deletable.popleft() for _ in range(count)])

    async def _delete_batch(self, batch: Sequence[Message]) -> bool:
        answer = await _answer("DeleteMessageBatch", self._source.delete(batch), batch)
        # A message that came again while its delete was under way needs one with the new handle.
        again = [message for message in answer.done if not self._in_flight.release(message)]
        self._deletable.extend((*answer.left, *self._in_flight.newest(again)))
        for message in answer.void:
            self._in_flight.forget(message)
        if answer.done:
            self._emit(hooks.Deleted(len(answer.done)))
        if answer.void:
            self._emit(hooks.Lapsed(len(answer.void)))
        self._released.set()
        if answer.error is None:
            self._works("DeleteMessageBatch", self._delete_backoff)
            return True
        pause_seconds = self._pause_after(answer.error, self._delete_backoff)
        if self._deleters == 1:
            await asyncio.sleep(pause_seconds)
        return False

    # Keep hidden, or give back.

    async def _heartbeat(self) -> None:
        """Extend each message when half of its time is over, ten a call."""
        idle_seconds = self._limits.visibility_seconds / 2
        slack_seconds = self._limits.visibility_seconds / 8
        while True:
            now = self._clock()
            due_at = self._in_flight.next_extension()
            await asyncio.sleep(idle_seconds if due_at is None else max(0.0, due_at - now))
            batches = _in_tens(self._in_flight.due(self._clock() + slack_seconds))
            extenders = 1 if self._extend_backoff.failing else _EXTENDERS
            async with asyncio.TaskGroup() as calls:
                extending = [calls.create_task(self._extend(batches)) for _ in range(extenders)]
            error = next((e for e in (task.result() for task in extending) if e), None)
            if error is not None:
                await asyncio.sleep(self._pause_after(error, self._extend_backoff))

    async def _extend(self, batches: Iterator[Sequence[Message]]) -> QueueError | None:
        """Extend batch after batch; return the error that ended it early."""
        seconds = self._limits.visibility_seconds
        for batch in batches:
            now = self._clock()
            call = self._source.extend(batch, seconds)
            answer = await _answer("ChangeMessageVisibilityBatch", call, batch)
            for message in answer.done:
                self._in_flight.extended(message, now)
            lapsed = sum(self._in_flight.lapsed(message) for message in answer.void)
            if answer.done:
                self._emit(hooks.Extended(len(answer.done)))
            if lapsed:
                self._emit(hooks.Lapsed(lapsed))
            if answer.error is not None:
                return answer.error
            self._works("ChangeMessageVisibilityBatch", self._extend_backoff)
        return None

    async def _drained(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_seconds):
                while self._in_flight:
                    self._released.clear()
                    await self._released.wait()

    async def _give_back(self) -> int:
        """Show to other consumers at once what is still held; return how many messages."""
        batches = _in_tens(self._in_flight.everything())
        async with asyncio.TaskGroup() as calls:
            showing = [calls.create_task(self._show(batches)) for _ in range(_EXTENDERS)]
        return sum(task.result() for task in showing)

    async def _show(self, batches: Iterator[Sequence[Message]]) -> int:
        shown = 0
        for batch in batches:
            call = self._source.extend(batch, 0)
            answer = await _answer("ChangeMessageVisibilityBatch", call, batch)
            shown += len(answer.done)
            if answer.done:
                self._emit(hooks.GivenBack(len(answer.done)))
            if answer.error is not None:
                self._pause_after(answer.error, self._extend_backoff)
        return shown

    # Back off.

    def _backoff(self) -> Backoff:
        limits = self._limits
        return Backoff(limits.min_pause_seconds, limits.max_pause_seconds, self._uniform)

    def _pause_after(self, error: QueueError, backoff: Backoff) -> float:
        refused = isinstance(error, QueueRefusedError)
        pause_seconds = backoff.pause_seconds(refused=refused)
        self._emit(hooks.QueueFailed(error.operation, error.code, refused, pause_seconds))
        return pause_seconds

    def _works(self, operation: str, backoff: Backoff) -> None:
        if backoff.failing:
            backoff.succeeded()
            self._emit(hooks.QueueRecovered(operation))
