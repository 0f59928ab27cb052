"""A queue in memory that behaves, and misbehaves on demand, as SQS does."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.errors import QueueError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, BatchFailure
from tests.history.steps import Step

_SENT_MS = 1_700_000_000_000


@dataclass
class _Stored:
    message: Message
    visible_at: float = 0.0
    receives: int = 0
    # Hidden by a receive whose time has not ended in another way than by running out.
    is_held: bool = False

    def is_newest(self, message: Message) -> bool:
        return self.message.receipt_handle == message.receipt_handle


@dataclass(eq=False)
class _Poll:
    """A long poll that is owed its `reply`, at `until` at the latest."""

    until: float
    reply: Callable[[list[Message]], None]
    is_given_up: Callable[[], bool]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True)
class Call:
    """One call that reached the queue: when, which, and how many messages it carried."""

    at: float
    operation: str
    count: int


def _running_clock() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class MemoryQueue:
    """Implements the pipeline's Source; time is the event loop's, unless a clock is given."""

    visibility_seconds: float = 30.0
    wait_seconds: float = 20.0
    call_seconds: float = 0.01
    clock: Callable[[], float] = _running_clock
    # Operations that take longer than `call_seconds` before they act.
    slow: dict[str, float] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    # Called before each operation acts; raises QueueError to make it fail.
    fault: Callable[[str], None] = lambda _: None
    # Codes by message id for entries of a batch to fail with, each used once.
    failing_entries: dict[str, list[str]] = field(default_factory=dict)
    # Called with each step that a message takes here, at once.
    witness: Callable[[Step, Message], None] = lambda *_: None
    _stored: dict[str, _Stored] = field(default_factory=dict)
    _waiting: dict[_Poll, asyncio.TimerHandle] = field(default_factory=dict)
    _sent: int = 0

    def send(self, *bodies: str, size: int | None = None) -> list[str]:
        sent = []
        for body in bodies:
            self._sent += 1
            message_id = f"00000000-0000-0000-0000-{self._sent:012x}"
            message = Message(
                message_id=message_id,
                receipt_handle="",
                body=body,
                sent_ms=_SENT_MS + self._sent,
                size=len(body) if size is None else size,
            )
            self._stored[message_id] = _Stored(message)
            sent.append(message_id)
        self._let_polls_look()
        return sent

    def show_again(self, message_id: str) -> None:
        """Deliver a message once more although it is hidden."""
        if stored := self._stored.get(message_id):
            stored.visible_at = 0.0
            stored.is_held = False
            self._let_polls_look()

    def bring_back(self, message: Message) -> None:
        """Deliver a message once more although it is deleted, as SQS may."""
        if message.message_id not in self._stored:
            receives = int(message.receipt_handle.rpartition("/")[2])
            self._stored[message.message_id] = _Stored(message, receives=receives)
            self._let_polls_look()

    @property
    def remaining(self) -> int:
        return len(self._stored)

    @property
    def hidden(self) -> int:
        now = self.clock()
        return sum(stored.visible_at > now for stored in self._stored.values())

    def sent_ms(self, message_id: str) -> int:
        """SentTimestamp of a message that is not deleted."""
        return self._stored[message_id].message.sent_ms

    def count(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.calls)

    async def receive(self) -> Sequence[Message]:
        self.calls.append(Call(self.clock(), "ReceiveMessage", 0))
        await self._travel("ReceiveMessage")
        self.fault("ReceiveMessage")
        answer: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self.poll(answer.set_result, answer.cancelled)
        return await answer

    def poll(
        self,
        reply: Callable[[list[Message]], None],
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """What a receive does once it has arrived.

        `reply` is called with messages once there are some, or with none after `wait_seconds`; not
        at all once it `is_given_up`.
        """
        loop = asyncio.get_running_loop()
        self._look(_Poll(self.clock() + self.wait_seconds, reply, is_given_up, loop))

    def _look(self, poll: _Poll) -> None:
        if poll.is_given_up():
            return
        messages, now = self.receive_now(), self.clock()
        if messages or now >= poll.until:
            poll.reply(messages)
            return
        wake_at = min([poll.until, *(stored.visible_at for stored in self._stored.values())])
        self._waiting[poll] = poll.loop.call_later(wake_at - now, self._look_late, poll)

    def _look_late(self, poll: _Poll) -> None:
        del self._waiting[poll]
        self._look(poll)

    def _let_polls_look(self) -> None:
        for poll, timer in self._waiting.items():
            timer.cancel()
            poll.loop.call_soon(self._look, poll)
        self._waiting.clear()

    def receive_now(self) -> list[Message]:
        """What a receive brings that does not wait."""
        now = self.clock()
        visible = [s for s in self._stored.values() if s.visible_at <= now][:MESSAGES_A_CALL]
        messages = []
        for stored in visible:
            if stored.is_held:
                self.witness(Step.EXPIRED, stored.message)
            stored.receives += 1
            stored.visible_at = now + self.visibility_seconds
            stored.is_held = True
            handle = f"{stored.message.message_id}/{stored.receives}"
            stored.message = stored.message._replace(receipt_handle=handle)
            messages.append(stored.message)
        return messages

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        refused = await self._begin("DeleteMessageBatch", messages)
        spared = {each.message.message_id for each in refused}
        self.delete_now([each for each in messages if each.message_id not in spared])
        return refused

    def delete_now(self, messages: Sequence[Message]) -> None:
        """What a delete does once it has arrived."""
        for message in messages:
            stored = self._stored.get(message.message_id)
            # A delete with a stale handle succeeds, and the message stays.
            if stored and stored.is_newest(message):
                del self._stored[message.message_id]
                self.deleted.append(message.message_id)
                self.witness(Step.DELETED, message)
            self.witness(Step.CONFIRMED, message)

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        refused = await self._begin("ChangeMessageVisibilityBatch", messages)
        spared = {each.message.message_id for each in refused}
        acted_on = [each for each in messages if each.message_id not in spared]
        return [*refused, *self.extend_now(acted_on, seconds)]

    def extend_now(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        """What a change of visibility does once it has arrived."""
        refused, now = [], self.clock()
        for message in messages:
            stored = self._stored.get(message.message_id)
            if stored is None:
                refused.append(BatchFailure(message, "InvalidParameterValue", handle_expired=True))
            else:  # by any handle, also by one that has expired
                stored.visible_at = now + seconds
                stored.is_held = seconds > 0
                if not seconds:
                    self.witness(Step.RELEASED, message)
        self._let_polls_look()
        return refused

    async def _begin(self, operation: str, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        assert 1 <= len(messages) <= MESSAGES_A_CALL
        self.calls.append(Call(self.clock(), operation, len(messages)))
        await self._travel(operation)
        self.fault(operation)
        refused = []
        for message in messages:
            if codes := self.failing_entries.get(message.message_id):
                code = codes.pop(0)
                refused.append(
                    BatchFailure(message, code, handle_expired=code == "ReceiptHandleIsInvalid")
                )
        return refused

    async def _travel(self, operation: str) -> None:
        if seconds := self.slow.get(operation, self.call_seconds):
            await asyncio.sleep(seconds)


def unavailable(operation: str) -> None:
    """A fault for MemoryQueue: every call fails and may be tried again."""
    raise QueueError(operation, "ServiceUnavailable")
