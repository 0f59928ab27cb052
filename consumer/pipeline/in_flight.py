"""The messages that this process holds: pure state, the clock is passed in."""

from collections.abc import Iterable

from consumer.messages import Message


class InFlight:
    """Messages received and not yet deleted or given back, by MessageId with the newest handle.

    A message that comes again while it is held replaces only its receipt handle, because SQS may
    ignore a delete with an older one (ReceiveMessage, "receipt handle"). Bounded by `max_messages`
    and `max_bytes`; what an open poll may yet bring counts as held.
    """

    def __init__(
        self, max_messages: int, max_bytes: int, visibility_seconds: float, messages_a_poll: int
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._visibility_seconds = visibility_seconds
        self._messages_a_poll = messages_a_poll
        self._held: dict[str, Message] = {}
        # Not in order: what a slow call extended is due before what arrived during the call.
        self._extend_at: dict[str, float] = {}
        self._held_bytes = 0
        self._open_polls = 0
        self._bytes_a_poll = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """The size of all held bodies."""
        return self._held_bytes

    def open_poll(self) -> bool:
        """Reserve room for one more poll; False if there is none.

        A poll is expected to bring as many bytes as the largest of late; one is always let through
        when nothing is held, whatever its size.
        """
        if not self._held and not self._open_polls:
            self._open_polls = 1
            return True
        polls = self._open_polls + 1
        room = (
            len(self._held) + polls * self._messages_a_poll <= self._max_messages
            and self._held_bytes + polls * self._bytes_a_poll <= self._max_bytes
        )
        self._open_polls += room
        return room

    def close_poll(self, received: Iterable[Message]) -> None:
        """Give back the room of a poll that has ended with `received`."""
        self._open_polls -= 1
        size_bytes = sum(message.size for message in received)
        self._bytes_a_poll = max(size_bytes, self._bytes_a_poll * 9 // 10)

    def admit(self, messages: Iterable[Message], now: float) -> list[Message]:
        """Hold messages; return those that are new here, for of others only handles are renewed."""
        held, extend_at = self._held, self._extend_at
        due_at = now + self._visibility_seconds / 2
        fresh = []
        for message in messages:
            message_id = message.message_id
            if message_id not in held:
                self._held_bytes += message.size
                fresh.append(message)
            held[message_id] = message
            extend_at[message_id] = due_at
        return fresh

    def newest(self, messages: Iterable[Message]) -> list[Message]:
        """Return those of `messages` that are still held, with their newest handles."""
        held = self._held
        return [held[m.message_id] for m in messages if m.message_id in held]

    def everything(self) -> list[Message]:
        """Return all that is held."""
        return list(self._held.values())

    def release(self, messages: Iterable[Message]) -> int:
        """Let go of messages, but not of those that have a newer handle; return how many went.

        Among these are those that were not held any more.
        """
        released = 0
        for message in messages:
            held = self._held.get(message.message_id)
            if held is None or held.receipt_handle == message.receipt_handle:
                self.forget(message)
                released += 1
        return released

    def forget(self, message: Message) -> None:
        """Let go of a message, whatever its newest handle."""
        if self._held.pop(message.message_id, None) is not None:
            self._held_bytes -= message.size
            self._extend_at.pop(message.message_id, None)

    def next_extension(self) -> float | None:
        """Tell when the first extension is due; None while nothing needs one."""
        return min(self._extend_at.values(), default=None)

    def due(self, until: float) -> list[Message]:
        """Return what must be extended at `until` or before, the most urgent first."""
        due = sorted((at, key) for key, at in self._extend_at.items() if at <= until)
        return [self._held[key] for _, key in due]

    def extended(self, message: Message, now: float) -> None:
        """Note that the queue hides the message for a whole visibility timeout from `now`."""
        if message.message_id in self._extend_at:
            self._extend_at[message.message_id] = now + self._visibility_seconds / 2

    def lapsed(self, message: Message) -> bool:
        """Extend a message no more, because its handle is void and it will come again.

        False if that is no news: it is not held any more, or a newer handle is.
        """
        held = self._held.get(message.message_id)
        if held is None or held.receipt_handle != message.receipt_handle:
            return False
        return self._extend_at.pop(message.message_id, None) is not None
