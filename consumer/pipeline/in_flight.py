"""The messages in flight in this process: pure state, the clock is passed in."""

from collections.abc import Iterable

from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL


class InFlight:
    """Messages received and not yet deleted or released, by MessageId with the newest handle.

    A message that is redelivered while it is tracked only gets its new receipt handle: SQS may
    ignore a delete with an older one (ReceiveMessage, "receipt handle"). Bounded by `max_messages`
    and `max_bytes`; what an open poll may still bring counts against both bounds.
    """

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        visibility_seconds: float,
        messages_a_poll: int = MESSAGES_A_CALL,
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._visibility_seconds = visibility_seconds
        self._messages_a_poll = messages_a_poll
        # Pollers add; deleters, heartbeat and the release at a stop remove. All read.
        self._tracked: dict[str, Message] = {}
        # When each extension is due: pollers add, the heartbeat moves, the one who stops tracking
        # removes. Not in order: a slow call extends messages that are due before newer arrivals.
        self._extend_at: dict[str, float] = {}
        # The size of all tracked bodies: changes with `_tracked`, read by pollers.
        self._tracked_bytes = 0
        # Written and read by pollers alone.
        self._open_polls = 0
        self._bytes_a_poll = 0

    def __len__(self) -> int:
        return len(self._tracked)

    @property
    def tracked_bytes(self) -> int:
        return self._tracked_bytes

    def open_poll(self) -> bool:
        """Reserve room for one more poll; False if there is none.

        A poll is expected to bring as many bytes as the largest recent one. One poll is always
        allowed while nothing is in flight, whatever it may bring.
        """
        if not self._tracked and not self._open_polls:
            self._open_polls = 1
            return True
        polls = self._open_polls + 1
        room = (
            len(self._tracked) + polls * self._messages_a_poll <= self._max_messages
            and self._tracked_bytes + polls * self._bytes_a_poll <= self._max_bytes
        )
        self._open_polls += room
        return room

    def close_poll(self, received: Iterable[Message]) -> None:
        """Return the reserved room of a poll that ended with `received`."""
        self._open_polls -= 1
        size_bytes = sum(message.size for message in received)
        self._bytes_a_poll = max(size_bytes, self._bytes_a_poll * 9 // 10)

    def start_tracking(self, messages: Iterable[Message], now: float) -> list[Message]:
        """Start tracking messages. Return the new ones; for the rest only the handle is updated."""
        tracked, extend_at = self._tracked, self._extend_at
        due_at = now + self._visibility_seconds / 2
        new = []
        for message in messages:
            message_id = message.message_id
            if message_id not in tracked:
                self._tracked_bytes += message.size
                new.append(message)
            tracked[message_id] = message
            extend_at[message_id] = due_at
        return new

    def with_newest_handles(self, messages: Iterable[Message]) -> list[Message]:
        """Those of `messages` that are still tracked, with their newest receipt handles."""
        tracked = self._tracked
        return [tracked[m.message_id] for m in messages if m.message_id in tracked]

    def everything(self) -> list[Message]:
        return list(self._tracked.values())

    def finish(self, messages: Iterable[Message]) -> int:
        """Stop tracking messages whose handle is the newest; return how many are gone.

        A message with a newer handle was redelivered meanwhile and stays tracked. Messages that
        were not tracked any more count as gone.
        """
        gone = 0
        for message in messages:
            tracked = self._tracked.get(message.message_id)
            if tracked is None or tracked.receipt_handle == message.receipt_handle:
                self.stop_tracking(message)
                gone += 1
        return gone

    def stop_tracking(self, message: Message) -> None:
        """Stop tracking a message, whatever its newest handle."""
        if self._tracked.pop(message.message_id, None) is not None:
            self._tracked_bytes -= message.size
            self._extend_at.pop(message.message_id, None)

    def next_extension(self) -> float | None:
        """When the first extension is due; None while there is none."""
        return min(self._extend_at.values(), default=None)

    def due(self, until: float) -> list[Message]:
        """What must be extended at `until` or before, the most urgent first."""
        due = sorted((at, key) for key, at in self._extend_at.items() if at <= until)
        return [self._tracked[key] for _, key in due]

    def extended(self, message: Message, now: float) -> None:
        """The queue hides the message for a whole visibility timeout from `now`."""
        if message.message_id in self._extend_at:
            self._extend_at[message.message_id] = now + self._visibility_seconds / 2

    def handle_expired(self, message: Message) -> bool:
        """Extend the message no more: its receipt handle expired, and it will be redelivered.

        False if the message is not tracked any more, has a newer handle, or was reported before.
        """
        tracked = self._tracked.get(message.message_id)
        if tracked is None or tracked.receipt_handle != message.receipt_handle:
            return False
        return self._extend_at.pop(message.message_id, None) is not None
