"""A queue in memory that behaves, and misbehaves on demand, as SQS does."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from consumer.errors import QueueError
from consumer.messages import Message
from consumer.ports import MESSAGES_A_CALL, Refused


@dataclass
class _Stored:
    message: Message
    visible_at: float = 0.0
    receives: int = 0


@dataclass(frozen=True)
class Call:
    """One call that reached the queue: when, which, and how many messages it carried."""

    at: float
    operation: str
    count: int


@dataclass
class MemoryQueue:
    """Implements the pipeline's Source; time is the event loop's."""

    visibility_seconds: float = 30.0
    wait_seconds: float = 20.0
    call_seconds: float = 0.01
    # Operations that take longer than `call_seconds` before they act.
    slow: dict[str, float] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    # Called before each operation acts; raises QueueError to make it fail.
    fault: Callable[[str], None] = lambda _: None
    # Codes by message id for entries of a batch to fail with, each used once.
    failing_entries: dict[str, list[str]] = field(default_factory=dict)
    _stored: dict[str, _Stored] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _sent: int = 0

    def send(self, *bodies: str, size: int | None = None) -> list[str]:
        sent = []
        for body in bodies:
            self._sent += 1
            message_id = str(UUID(int=self._sent))
            message = Message(
                message_id=message_id,
                receipt_handle="",
                body=body,
                sent_ms=1_700_000_000_000 + self._sent,
                size=len(body) if size is None else size,
            )
            self._stored[message_id] = _Stored(message)
            sent.append(message_id)
        self._changed.set()
        return sent

    def show_again(self, message_id: str) -> None:
        """Deliver a message once more although it is hidden."""
        self._stored[message_id].visible_at = 0.0
        self._changed.set()

    @property
    def remaining(self) -> int:
        return len(self._stored)

    @property
    def hidden(self) -> int:
        now = asyncio.get_running_loop().time()
        return sum(stored.visible_at > now for stored in self._stored.values())

    def count(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.calls)

    async def receive(self) -> Sequence[Message]:
        clock = asyncio.get_running_loop().time
        self.calls.append(Call(clock(), "ReceiveMessage", 0))
        await asyncio.sleep(self.call_seconds)
        self.fault("ReceiveMessage")
        until = clock() + self.wait_seconds
        while not (messages := self._take(clock())) and clock() < until:
            self._changed.clear()
            wake_at = min([until, *(s.visible_at for s in self._stored.values())])
            try:
                async with asyncio.timeout_at(max(wake_at, clock())):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return messages

    def _take(self, now: float) -> list[Message]:
        visible = [s for s in self._stored.values() if s.visible_at <= now][:MESSAGES_A_CALL]
        messages = []
        for stored in visible:
            stored.receives += 1
            stored.visible_at = now + self.visibility_seconds
            handle = f"{stored.message.message_id}/{stored.receives}"
            stored.message = replace(stored.message, receipt_handle=handle)
            messages.append(replace(stored.message, receive_count=stored.receives))
        return messages

    async def delete(self, messages: Sequence[Message]) -> Sequence[Refused]:
        refused = await self._begin("DeleteMessageBatch", messages)
        spared = {each.message.message_id for each in refused}
        for message in messages:
            stored = self._stored.get(message.message_id)
            stale = stored and stored.message.receipt_handle != message.receipt_handle
            # A delete with a stale handle succeeds, and the message stays.
            if stored and not stale and message.message_id not in spared:
                del self._stored[message.message_id]
                self.deleted.append(message.message_id)
        return refused

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[Refused]:
        refused = await self._begin("ChangeMessageVisibilityBatch", messages)
        spared = {each.message.message_id for each in refused}
        now = asyncio.get_running_loop().time()
        for message in messages:
            stored = self._stored.get(message.message_id)
            if message.message_id in spared:
                continue
            if stored is None or stored.visible_at <= now:
                refused = [*refused, Refused(message, "MessageNotInflight", final=True)]
            elif stored.message.receipt_handle == message.receipt_handle:
                stored.visible_at = now + seconds
        self._changed.set()
        return refused

    async def _begin(self, operation: str, messages: Sequence[Message]) -> Sequence[Refused]:
        assert 1 <= len(messages) <= MESSAGES_A_CALL
        now = asyncio.get_running_loop().time()
        self.calls.append(Call(now, operation, len(messages)))
        await asyncio.sleep(self.slow.get(operation, self.call_seconds))
        self.fault(operation)
        refused = []
        for message in messages:
            if codes := self.failing_entries.get(message.message_id):
                code = codes.pop(0)
                refused.append(Refused(message, code, final=code == "ReceiptHandleIsInvalid"))
        return refused


def unavailable(operation: str) -> None:
    """A fault for MemoryQueue: every call fails and may be tried again."""
    raise QueueError(operation, "ServiceUnavailable")
