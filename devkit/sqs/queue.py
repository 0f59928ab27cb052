"""One queue: its messages and the passing of time over them. Pure state; the clock is passed in.

No operation looks through the messages: each is O(log n), whatever waits.
"""

import random
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from devkit.sqs.attributes import MAX_VISIBILITY_SECONDS, QueueSettings
from devkit.sqs.deadlines import Deadlines
from devkit.sqs.deduplication import Deduplication
from devkit.sqs.errors import (
    INVALID_PARAMETER,
    MESSAGE_NOT_IN_FLIGHT,
    OVER_LIMIT,
    PURGE_QUEUE_IN_PROGRESS,
    SqsError,
    invalid,
)
from devkit.sqs.lines import FifoLine, Line, StandardLine
from devkit.sqs.messages import Draft, Received, Sent, State, StoredMessage
from devkit.sqs.receipts import Receipts

ClockMs = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """AWS's quotas, which a test may make smaller (Developer Guide, "Amazon SQS quotas")."""

    in_flight_messages: int = 120_000
    purge_interval_seconds: int = 60
    name_reuse_seconds: int = 60
    deduplication_seconds: int = 300


class Queue:
    """The messages of one queue.

    `clock_ms` returns milliseconds since the epoch; `find_queue` a queue by its ARN, for the
    redrive.
    """

    def __init__(
        self,
        arn: str,
        settings: QueueSettings,
        *,
        clock_ms: ClockMs,
        find_queue: Callable[[str], "Queue | None"] = lambda _: None,
        limits: Limits | None = None,
    ) -> None:
        self.arn = arn
        self.settings = settings
        self.tags: dict[str, str] = {}
        self.created_ms = self.modified_ms = clock_ms()
        self._clock_ms = clock_ms
        self._find_queue = find_queue
        self._limits = limits or Limits()
        # Message ids must differ; they need not be secret.
        self._random_bits = random.Random().getrandbits  # noqa: S311
        self._receipts = Receipts(secrets.token_bytes(8))
        self._deduplication = Deduplication(self._limits.deduplication_seconds * 1000)
        self._last_key = 0
        self._purged_ms: int | None = None
        self._clear()

    @property
    def name(self) -> str:
        """The queue's name, the last part of its ARN and of its URL."""
        return self.arn.rpartition(":")[2]

    @property
    def visible(self) -> int:
        """How many messages may be received, or wait in a group to be received."""
        self._advance()
        return len(self._messages) - len(self._hidden)

    @property
    def in_flight(self) -> int:
        """How many messages are received and not yet deleted or visible again."""
        self._advance()
        return len(self._hidden) - self._delayed

    @property
    def delayed(self) -> int:
        """How many messages wait for their delay to end."""
        self._advance()
        return self._delayed

    def next_change_ms(self) -> int | None:
        """Return when the next message becomes visible by the mere passing of time."""
        return self._hidden.first()

    def change_settings(self, settings: QueueSettings) -> None:
        """Put other attributes in force."""
        self.settings = settings
        self.modified_ms = self._clock_ms()

    def send(self, draft: Draft) -> Sent:
        """Store a message, unless a FIFO queue has seen its deduplication id."""
        now_ms = self._advance()
        if not self.settings.is_fifo:
            return Sent(self._store(StoredMessage(self._new_id(), draft, now_ms), now_ms), None)
        scope = draft.group_id or "" if self.settings.deduplicates_by_group else ""
        deduplication_id = draft.deduplication_id or ""
        sent = self._deduplication.find(scope, deduplication_id, now_ms)
        if sent is None:
            message = StoredMessage(self._new_id(), draft, now_ms)
            self._store(message, now_ms)
            sent = Sent(message.message_id, message.sequence_number)
            self._deduplication.remember(scope, deduplication_id, sent, now_ms)
        return sent

    def receive(
        self, limit: int, visibility_seconds: int | None = None, *, hide: bool = True
    ) -> list[Received]:
        """Hand out up to `limit` messages; without `hide`, all may be received again at once.

        A message that was received as often as the redrive policy allows goes to the dead-letter
        queue instead.

        Raises:
            SqsError: OverLimit, a standard queue has too many messages in flight.
        """
        now_ms = self._advance()
        limit = self._within_room(limit)
        seconds = self.settings.visibility_seconds
        if visibility_seconds is not None:
            seconds = visibility_seconds
        if not hide:
            seconds = 0
        received: list[Received] = []
        with closing(self._line.candidates()) as candidates:
            while len(received) < limit and (message := next(candidates, None)) is not None:
                if not self._redrive(message):
                    received.append(self._hand_out(message, now_ms, seconds))
        if not seconds:
            for message, _ in received:
                self._line.add(message)
        return received

    def delete(self, handle: str) -> None:
        """Delete the message if `handle` is of its last receive.

        An older handle does nothing in a standard queue; a deleted message may be deleted again.

        Raises:
            SqsError: ReceiptHandleIsInvalid; or, in a FIFO queue, the handle has expired.
        """
        is_fifo = self.settings.is_fifo
        if is_fifo:
            self._advance()  # only there does it matter whether a handle has expired
        message, is_newest = self._find(handle)
        if message is None:
            return
        if is_fifo and (not is_newest or message.state is not State.IN_FLIGHT):
            raise _bad_handle("The receipt handle has expired.")
        if is_newest:
            self._remove(message)

    def change_visibility(self, handle: str, seconds: int) -> None:
        """Let the message become visible `seconds` from now.

        Raises:
            SqsError: ReceiptHandleIsInvalid; the message is not in flight, or not by this handle;
                or it would be so for more than twelve hours in all.
        """
        now_ms = self._advance()
        message, is_newest = self._find(handle)
        if message is None or not is_newest:
            raise _bad_handle(
                "Message does not exist or is not available for visibility timeout change."
            )
        if message.state is not State.IN_FLIGHT:
            raise SqsError(MESSAGE_NOT_IN_FLIGHT, "The specified message isn't in flight.")
        if now_ms - message.received_ms + seconds * 1000 > MAX_VISIBILITY_SECONDS * 1000:
            reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            raise invalid("VisibilityTimeout", seconds, reason)
        if seconds:
            self._hidden.set(message.key, now_ms + seconds * 1000)
        else:
            self._hidden.discard(message.key)
            self._show(message)

    def purge(self) -> None:
        """Delete every message.

        Raises:
            SqsError: PurgeQueueInProgress, it was purged within the last minute.
        """
        now_ms = self._clock_ms()
        interval_ms = self._limits.purge_interval_seconds * 1000
        if self._purged_ms is not None and now_ms - self._purged_ms < interval_ms:
            raise SqsError(
                PURGE_QUEUE_IN_PROGRESS,
                f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.",
            )
        self._purged_ms = now_ms
        self._clear()

    def adopt(self, message: StoredMessage, *, source_arn: str) -> None:
        """Take over, as a dead-letter queue, a message of another queue.

        Its id stays. Of a standard queue the time of sending stays too; in a FIFO queue the time
        begins anew and the id becomes the deduplication id (Developer Guide, "Setting-up
        dead-letter queue retention" and "Configure a dead-letter queue redrive").
        """
        now_ms = self._advance()
        adopted = replace(message, dead_letter_source=source_arn)
        if self.settings.is_fifo:
            adopted.sent_ms = now_ms
            adopted.draft = message.draft._replace(deduplication_id=message.message_id)
        self._store(adopted, now_ms, delayed=False)

    def give_up(self, limit: int) -> list[StoredMessage]:
        """Remove and return up to `limit` visible messages, for a move to another queue."""
        self._advance()
        given_up: list[StoredMessage] = []
        with closing(self._line.candidates()) as candidates:
            while len(given_up) < limit and (message := next(candidates, None)) is not None:
                self._remove(message)
                given_up.append(message)
        return given_up

    def counts(self) -> Mapping[str, int]:
        """Return the attributes that count messages."""
        return {
            "ApproximateNumberOfMessages": self.visible,
            "ApproximateNumberOfMessagesNotVisible": self.in_flight,
            "ApproximateNumberOfMessagesDelayed": self.delayed,
        }

    def _clear(self) -> None:
        self._messages: dict[int, StoredMessage] = {}
        self._line: Line = FifoLine() if self.settings.is_fifo else StandardLine()
        self._hidden = Deadlines()
        self._sent = Deadlines()
        self._delayed = 0

    def _advance(self) -> int:
        """Let happen what is due, and return the time."""
        now_ms = self._clock_ms()
        for key in self._hidden.take_due(now_ms):
            self._show(self._messages[key])
        for key in self._sent.take_due(now_ms - self.settings.retention_seconds * 1000):
            self._remove(self._messages[key])
        return now_ms

    def _new_id(self) -> str:
        """Return a random id in the form of a UUID of version 4 (RFC 9562)."""
        digits = f"{self._random_bits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _store(self, message: StoredMessage, now_ms: int, *, delayed: bool = True) -> str:
        self._last_key += 1
        message.key = self._last_key
        self._messages[message.key] = message
        self._sent.set(message.key, message.sent_ms)
        seconds = message.draft.delay_seconds
        if seconds is None:
            seconds = self.settings.delay_seconds
        if delayed and seconds:
            message.state = State.DELAYED
            self._delayed += 1
            self._hidden.set(message.key, now_ms + seconds * 1000)
        else:
            message.state = State.VISIBLE
            self._line.add(message)
        return message.message_id

    def _within_room(self, limit: int) -> int:
        room = self._limits.in_flight_messages - (len(self._hidden) - self._delayed)
        if room <= 0 and not self.settings.is_fifo:
            raise SqsError(OVER_LIMIT, f"Too many messages are in flight in {self.name}.")
        return min(limit, room)

    def _redrive(self, message: StoredMessage) -> bool:
        """Move a message that was received too often to the dead-letter queue, if there is one."""
        policy = self.settings.redrive
        if policy is None or message.receive_count < policy.max_receive_count:
            return False
        dead_letters = self._find_queue(policy.dead_letter_arn)
        if dead_letters is None:
            return False
        self._remove(message)
        dead_letters.adopt(message, source_arn=self.arn)
        return True

    def _hand_out(self, message: StoredMessage, now_ms: int, seconds: int) -> Received:
        message.receive_count += 1
        message.received_ms = now_ms
        if message.first_received_ms is None:
            message.first_received_ms = now_ms
        if seconds:
            message.state = State.IN_FLIGHT
            self._hidden.set(message.key, now_ms + seconds * 1000)
            self._line.hidden(message)
        return Received(message, self._receipts.issue(message.key, message.receive_count))

    def _show(self, message: StoredMessage) -> None:
        if message.state is State.DELAYED:
            self._delayed -= 1
        message.state = State.VISIBLE
        self._line.add(message)
        self._line.settled(message)

    def _remove(self, message: StoredMessage) -> None:
        if message.state is State.DELAYED:
            self._delayed -= 1
        message.state = State.GONE
        del self._messages[message.key]
        self._hidden.discard(message.key)
        self._sent.discard(message.key)
        self._line.settled(message)

    def _find(self, handle: str) -> tuple[StoredMessage | None, bool]:
        key, receive_count = self._receipts.read(handle)
        message = self._messages.get(key)
        return message, message is not None and message.receive_count == receive_count


def _bad_handle(reason: str) -> SqsError:
    return SqsError(
        INVALID_PARAMETER, f"The value for parameter ReceiptHandle is invalid. Reason: {reason}"
    )
