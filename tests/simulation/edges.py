"""The queue and the database as one replica sees them: each call may meet a fault."""

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
from tests.simulation.scenario import COMMIT, DELETE, EXTEND, RECEIVE, CallFault

_T = TypeVar("_T")
_Reply = Callable[[_T | ConsumerError], None]
_Act = Callable[[CallFault | None, _Reply[_T]], None]
_ReplyMessages = _Reply[Sequence[Message]]
_ReplyRefused = _Reply[Sequence[BatchFailure]]
_ReplyWritten = _Reply[Written]
_Failure = Callable[[str, str, CallFault | None], ConsumerError]

CALL_TIMEOUT_SECONDS = 10.0
STATEMENT_TIMEOUT_SECONDS = 30.0
_NOT_ACTED_ON = (CallFault.FAILS, CallFault.REFUSED)
# Codes of entries that fail, whether they are final, and whether they are acted on all the same.
_ENTRY_FAILURES = (
    ("InternalError", False, False),
    ("InternalError", False, True),
    ("ReceiptHandleIsInvalid", True, False),
)


class Environment(Protocol):
    """What the edges need from the world around the replica."""

    def fault(self, replica: str, operation: str) -> CallFault | None:
        """The fault that this call meets, if any."""

    def note(self, step: Step, messages: Sequence[Message], replica: str) -> None:
        """Remember what a replica did or learned."""

    def delivered(self, messages: Sequence[Message], replica: str) -> None:
        """The queue hides these messages on behalf of a replica from now on."""

    def kill(self, replica: str) -> None:
        """End a replica as kill -9 does."""

    def travel(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call after a packet's time and `seconds` more, even if the replica is killed."""

    def later(self, callback: Callable[[], None]) -> None:
        """Call after a random time, even if the replica is killed meanwhile."""

    def random(self) -> float:
        """From 0 to 1."""


@dataclass(frozen=True, slots=True)
class Link:
    """A replica's network. A packet that was sent arrives even if the replica is killed."""

    replica: str
    world: Environment

    async def call(self, operation: str, act: _Act[_T], seconds: float, failure: _Failure) -> _T:
        """Run `act` on the other side; raises a `failure`, after `seconds` at the latest."""
        fault, loop = self.world.fault(self.replica, operation), asyncio.get_running_loop()
        answer: asyncio.Future[_T | ConsumerError] = loop.create_future()
        fail = partial(failure, operation)
        other = _OtherSide(self, act, fail, fault, answer)
        stall_seconds = 2 * seconds * self.world.random() if fault is CallFault.STALLS else 0.0
        self.world.travel(stall_seconds, other.arrive)
        deadline = loop.call_later(seconds, lambda: _settle(answer, fail("TimeoutError", None)))
        result = await answer
        deadline.cancel()
        if isinstance(result, ConsumerError):
            raise result
        return result


@dataclass(frozen=True, slots=True)
class _OtherSide(Generic[_T]):
    link: Link
    act: _Act[_T]
    fail: Callable[[str, CallFault | None], ConsumerError]
    fault: CallFault | None
    answer: asyncio.Future[_T | ConsumerError]

    def arrive(self) -> None:
        if self.fault is CallFault.KILLED_BEFORE:
            self.link.world.kill(self.link.replica)
        elif self.fault in _NOT_ACTED_ON:
            self._reply(self.fail("Unavailable", self.fault))
        else:
            self.act(self.fault, self._reply)

    def _reply(self, result: _T | ConsumerError) -> None:
        if self.fault is CallFault.KILLED_AFTER:
            self.link.world.kill(self.link.replica)
            return
        if self.fault is CallFault.ANSWER_LOST:
            result = self.fail("ConnectionClosed", self.fault)
        self.link.world.travel(0.0, partial(_settle, self.answer, result))


def _settle(answer: asyncio.Future[_T | ConsumerError], result: _T | ConsumerError) -> None:
    if not answer.done():
        answer.set_result(result)


@dataclass(frozen=True, slots=True)
class FaultySource:
    """Implements the pipeline's Source for one replica."""

    link: Link
    queue: MemoryQueue

    async def receive(self) -> Sequence[Message]:
        seconds = self.queue.wait_seconds + CALL_TIMEOUT_SECONDS
        messages = await self.link.call(RECEIVE, self._receive, seconds, _queue_failure)
        self.link.world.note(Step.RECEIVED, messages, self.link.replica)
        return messages

    def _receive(self, fault: CallFault | None, reply: _ReplyMessages) -> None:
        self.queue.poll(partial(self._hand_out, fault, reply))

    def _hand_out(
        self, fault: CallFault | None, reply: _ReplyMessages, messages: Sequence[Message]
    ) -> None:
        self.link.world.delivered(messages, self.link.replica)
        if fault is CallFault.TWICE:
            for message in messages:
                self.link.world.later(partial(self.queue.show_again, message.message_id))
        reply(messages)

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        self.link.world.note(Step.DELETE_ASKED, messages, self.link.replica)
        act = partial(self._delete, messages)
        return await self.link.call(DELETE, act, CALL_TIMEOUT_SECONDS, _queue_failure)

    def _delete(
        self, messages: Sequence[Message], fault: CallFault | None, reply: _ReplyRefused
    ) -> None:
        refused, acted_on = self._partial_failure(fault, messages)
        self.queue.delete_now(acted_on)
        if fault is CallFault.REAPPEARS:
            for message in messages:
                self.link.world.later(partial(self.queue.bring_back, message))
        reply(refused)

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        act = partial(self._extend, messages, seconds)
        return await self.link.call(EXTEND, act, CALL_TIMEOUT_SECONDS, _queue_failure)

    def _extend(
        self,
        messages: Sequence[Message],
        seconds: int,
        fault: CallFault | None,
        reply: _ReplyRefused,
    ) -> None:
        refused, acted_on = self._partial_failure(fault, messages)
        reply([*refused, *self.queue.extend_now(acted_on, seconds)])

    def _partial_failure(
        self, fault: CallFault | None, messages: Sequence[Message]
    ) -> tuple[list[BatchFailure], list[Message]]:
        """The entries that are reported as failed, and those that the queue acts on."""
        if fault is not CallFault.PARTLY_FAILS:
            return [], list(messages)
        random, refused, acted_on = self.link.world.random, [], []
        for message in messages:
            code, is_final, is_acted_on = _ENTRY_FAILURES[int(random() * 3)]
            fails = random() < 0.5
            if fails:
                refused.append(BatchFailure(message, code, is_final))
            if is_acted_on or not fails:
                acted_on.append(message)
        return refused, acted_on


@dataclass(frozen=True, slots=True)
class FaultySink:
    """Implements the pipeline's Sink for one replica."""

    link: Link
    database: MemoryDatabase

    async def write(self, batch: Sequence[Outcome]) -> Written:
        act: _Act[Written] = partial(self._commit, batch)
        written = await self.link.call(COMMIT, act, STATEMENT_TIMEOUT_SECONDS, _database_failure)
        messages = [outcome.message for outcome in batch]
        self.link.world.note(Step.ACKNOWLEDGED, messages, self.link.replica)
        return written

    def _commit(self, batch: Sequence[Outcome], _: CallFault | None, reply: _ReplyWritten) -> None:
        try:
            reply(self.database.commit(batch))
        except DatabaseError as error:
            reply(error)


def _queue_failure(operation: str, code: str, fault: CallFault | None) -> ConsumerError:
    if fault is CallFault.REFUSED:
        return QueueRefusedError(operation, "AccessDenied")
    return QueueError(operation, code)


def _database_failure(_operation: str, _code: str, fault: CallFault | None) -> ConsumerError:
    if fault is CallFault.REFUSED:
        return DatabaseRefusedError("42P01")
    return DatabaseError("08006")
