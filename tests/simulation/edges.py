"""What one replica sees of queue and database: each call may meet a trouble."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from consumer.errors import (
    ConsumerError,
    DatabaseError,
    DatabaseRefusedError,
    QueueError,
    QueueRefusedError,
)
from consumer.messages import Message, Outcome, Written
from consumer.pipeline.ports import BatchFailure
from tests.fakes.database import MemoryDatabase
from tests.fakes.queue import MemoryQueue
from tests.history.steps import Step
from tests.simulation.scenario import COMMIT, DELETE, EXTEND, RECEIVE, Trouble

_T = TypeVar("_T")
_Reply = Callable[[_T | ConsumerError], None]
_Act = Callable[[Trouble | None, _Reply[_T]], None]
_ReplyMessages = _Reply[Sequence[Message]]
_ReplyRefused = _Reply[Sequence[BatchFailure]]
_ReplyWritten = _Reply[Written]
_Failure = Callable[[str, str, Trouble | None], ConsumerError]

CALL_TIMEOUT_SECONDS = 10.0
STATEMENT_TIMEOUT_SECONDS = 30.0
_NOT_ACTED_ON = (Trouble.FAILS, Trouble.REFUSED)
# Codes of entries that fail, whether they are final, and whether they are acted on all the same.
_ENTRY_FAILURES = (
    ("InternalError", False, False),
    ("InternalError", False, True),
    ("ReceiptHandleIsInvalid", True, False),
)


class Surroundings(Protocol):
    """What the edges need of the world around the replica."""

    def trouble(self, replica: str, operation: str) -> Trouble | None:
        """What befalls this call."""

    def note(self, step: Step, messages: Sequence[Message], replica: str) -> None:
        """Remember what a replica did or learned."""

    def handed(self, messages: Sequence[Message], replica: str) -> None:
        """The queue hides these messages on behalf of a replica from now on."""

    def kill(self, replica: str) -> None:
        """End a replica as kill -9 does."""

    def travel(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call after the time that a packet takes, and `seconds` more, whatever becomes of us."""

    def later(self, callback: Callable[[], None]) -> None:
        """Call soon or late, whatever becomes of the replica."""

    def random(self) -> float:
        """From 0 to 1."""


@dataclass(frozen=True, slots=True)
class Line:
    """The way of a replica's calls. What is on its way arrives even if the replica is killed."""

    replica: str
    world: Surroundings

    async def call(self, operation: str, act: _Act[_T], seconds: float, failure: _Failure) -> _T:
        """Have `act` done on the far side; raises a `failure`, at the latest after `seconds`."""
        trouble, loop = self.world.trouble(self.replica, operation), asyncio.get_running_loop()
        answer: asyncio.Future[_T | ConsumerError] = loop.create_future()
        fail = partial(failure, operation)
        far = _FarSide(self, act, fail, trouble, answer)
        stall_seconds = 2 * seconds * self.world.random() if trouble is Trouble.STALLS else 0.0
        self.world.travel(stall_seconds, far.arrive)
        deadline = loop.call_later(seconds, lambda: _settle(answer, fail("TimeoutError", None)))
        result = await answer
        deadline.cancel()
        if isinstance(result, ConsumerError):
            raise result
        return result


@dataclass(frozen=True, slots=True)
class _FarSide(Generic[_T]):
    line: Line
    act: _Act[_T]
    fail: Callable[[str, Trouble | None], ConsumerError]
    trouble: Trouble | None
    answer: asyncio.Future[_T | ConsumerError]

    def arrive(self) -> None:
        if self.trouble is Trouble.KILLED_BEFORE:
            self.line.world.kill(self.line.replica)
        elif self.trouble in _NOT_ACTED_ON:
            self._reply(self.fail("Unavailable", self.trouble))
        else:
            self.act(self.trouble, self._reply)

    def _reply(self, result: _T | ConsumerError) -> None:
        if self.trouble is Trouble.KILLED_AFTER:
            self.line.world.kill(self.line.replica)
            return
        if self.trouble is Trouble.ANSWER_LOST:
            result = self.fail("ConnectionClosed", self.trouble)
        self.line.world.travel(0.0, partial(_settle, self.answer, result))


def _settle(answer: asyncio.Future[_T | ConsumerError], result: _T | ConsumerError) -> None:
    if not answer.done():
        answer.set_result(result)


@dataclass(frozen=True, slots=True)
class LyingSource:
    """Implements the pipeline's Source for one replica."""

    line: Line
    queue: MemoryQueue

    async def receive(self) -> Sequence[Message]:
        seconds = self.queue.wait_seconds + CALL_TIMEOUT_SECONDS
        messages = await self.line.call(RECEIVE, self._receive, seconds, _queue_failure)
        self.line.world.note(Step.RECEIVED, messages, self.line.replica)
        return messages

    def _receive(self, trouble: Trouble | None, reply: _ReplyMessages) -> None:
        self.queue.poll(partial(self._hand_out, trouble, reply))

    def _hand_out(
        self, trouble: Trouble | None, reply: _ReplyMessages, messages: Sequence[Message]
    ) -> None:
        self.line.world.handed(messages, self.line.replica)
        if trouble is Trouble.TWICE:
            for message in messages:
                self.line.world.later(partial(self.queue.show_again, message.message_id))
        reply(messages)

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        self.line.world.note(Step.DELETE_ASKED, messages, self.line.replica)
        act = partial(self._delete, messages)
        return await self.line.call(DELETE, act, CALL_TIMEOUT_SECONDS, _queue_failure)

    def _delete(
        self, messages: Sequence[Message], trouble: Trouble | None, reply: _ReplyRefused
    ) -> None:
        refused, acted_on = self._torn(trouble, messages)
        self.queue.delete_now(acted_on)
        if trouble is Trouble.COMES_BACK:
            for message in messages:
                self.line.world.later(partial(self.queue.bring_back, message))
        reply(refused)

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        act = partial(self._extend, messages, seconds)
        return await self.line.call(EXTEND, act, CALL_TIMEOUT_SECONDS, _queue_failure)

    def _extend(
        self,
        messages: Sequence[Message],
        seconds: int,
        trouble: Trouble | None,
        reply: _ReplyRefused,
    ) -> None:
        refused, acted_on = self._torn(trouble, messages)
        reply([*refused, *self.queue.extend_now(acted_on, seconds)])

    def _torn(
        self, trouble: Trouble | None, messages: Sequence[Message]
    ) -> tuple[list[BatchFailure], list[Message]]:
        """The entries that are said to have failed, and those that are acted on."""
        if trouble is not Trouble.PARTLY_FAILS:
            return [], list(messages)
        random, refused, acted_on = self.line.world.random, [], []
        for message in messages:
            code, is_final, is_acted_on = _ENTRY_FAILURES[int(random() * 3)]
            fails = random() < 0.5
            if fails:
                refused.append(BatchFailure(message, code, is_final))
            if is_acted_on or not fails:
                acted_on.append(message)
        return refused, acted_on


@dataclass(frozen=True, slots=True)
class LyingSink:
    """Implements the pipeline's Sink for one replica."""

    line: Line
    database: MemoryDatabase

    async def write(self, batch: Sequence[Outcome]) -> Written:
        act: _Act[Written] = partial(self._commit, batch)
        written = await self.line.call(COMMIT, act, STATEMENT_TIMEOUT_SECONDS, _database_failure)
        messages = [outcome.message for outcome in batch]
        self.line.world.note(Step.ACKNOWLEDGED, messages, self.line.replica)
        return written

    def _commit(self, batch: Sequence[Outcome], _: Trouble | None, reply: _ReplyWritten) -> None:
        try:
            reply(self.database.commit(batch))
        except DatabaseError as error:
            reply(error)


def _queue_failure(operation: str, code: str, trouble: Trouble | None) -> ConsumerError:
    if trouble is Trouble.REFUSED:
        return QueueRefusedError(operation, "AccessDenied")
    return QueueError(operation, code)


def _database_failure(_operation: str, _code: str, trouble: Trouble | None) -> ConsumerError:
    if trouble is Trouble.REFUSED:
        return DatabaseRefusedError("42P01")
    return DatabaseError("08006")
