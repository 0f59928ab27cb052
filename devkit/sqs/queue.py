"""One queue: its messages and the passing of time over them.

No operation on a standard queue looks through the messages: each is O(log n), whatever waits.
"""

import random
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from heapq import heappop, heappush

from devkit.sqs.errors import (
    INVALID_PARAMETER,
    MESSAGE_NOT_IN_FLIGHT,
    RECEIPT_HANDLE_IS_INVALID,
    SqsError,
)
from devkit.sqs.messages import Deduplication, FifoBacklog, StandardBacklog, StoredMessage
from devkit.sqs.queue_settings import MAX_VISIBILITY_SECONDS, FifoQueueSettings, QueueSettings
from devkit.sqs.requests import ACCOUNT_ID, Draft

_HANDLE = re.compile(r"([0-9a-f]{16})\+([0-9]{1,19})/([0-9]{1,19})==", re.ASCII)
_FEW = 64


class Queue:
    """The messages of one queue.

    `clock_ms` returns milliseconds since the epoch, `find_queue` a queue by its ARN, for the
    redrive. `on_change` is called when a message may have become visible.
    """

    def __init__(
        self,
        name: str,
        settings: QueueSettings,
        *,
        clock_ms: Callable[[], int],
        find_queue: Callable[[str], "Queue | None"],
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.arn = f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{name}"
        self.settings = settings
        self.is_fifo = isinstance(settings, FifoQueueSettings)
        self.created_ms = self.modified_ms = clock_ms()
        self._clock_ms = clock_ms
        self._find_queue = find_queue
        self._on_change = on_change
        # Message ids must differ; they need not be secret.
        self._random_bits = random.Random().getrandbits  # noqa: S311
        self._mark = secrets.token_hex(8)
        self._last_key = 0
        self._messages: dict[int, StoredMessage] = {}
        self._hidden: dict[int, StoredMessage] = {}
        # A heap; an entry counts while its message is hidden until then.
        self._shown_at: list[tuple[int, int]] = []
        self._backlog = FifoBacklog() if self.is_fifo else StandardBacklog()
        self._deduplication = Deduplication()

    @property
    def visible(self) -> int:
        """How many messages may be received, or wait in a group to be received."""
        self._advance()
        return len(self._messages) - len(self._hidden)

    @property
    def in_flight(self) -> int:
        """How many messages are received and not yet deleted or visible again."""
        self._advance()
        return sum(message.receive_count > 0 for message in self._hidden.values())

    @property
    def delayed(self) -> int:
        self._advance()
        return sum(message.receive_count == 0 for message in self._hidden.values())

    def messages(self) -> list[StoredMessage]:
        """Return all messages, hidden or not, in the order in which they came."""
        self._advance()
        return list(self._messages.values())

    def find(self, handle: str) -> StoredMessage | None:
        """Return the message of a receipt handle; None if it is deleted, or if it is no handle."""
        try:
            return self._look_up(handle)[0]
        except SqsError:
            return None

    def next_change_ms(self) -> int | None:
        """Return when the next message becomes visible by the mere passing of time."""
        while self._shown_at:
            until_ms, key = self._shown_at[0]
            if key in self._hidden and self._hidden[key].hidden_until_ms == until_ms:
                return until_ms
            heappop(self._shown_at)
        return None

    def change_settings(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.modified_ms = self._clock_ms()

    def send(self, draft: Draft) -> StoredMessage:
        """Store a message; a FIFO queue returns the one before of the same deduplication id."""
        now_ms = self._advance()
        if not isinstance(self.settings, FifoQueueSettings):
            return self._store(self._new_message(draft, now_ms), now_ms)
        scope = draft.group_id if self.settings.scope == "messageGroup" else None
        key = scope, draft.deduplication_id
        message = self._deduplication.find(key, now_ms)
        if message is None:
            message = self._store(self._new_message(draft, now_ms), now_ms)
            self._deduplication.add(key, message, now_ms)
        return message

    def receive(
        self, limit: int, visibility_seconds: int | None = None, *, hide: bool = True
    ) -> list[StoredMessage]:
        """Deliver up to `limit` messages; without `hide`, all may be received again at once.

        A message that was received as often as the redrive policy allows goes to the dead-letter
        queue instead.
        """
        now_ms = self._advance()
        if visibility_seconds is None:
            visibility_seconds = self.settings.visibility_seconds
        hidden_ms = visibility_seconds * 1000 if hide else 0
        received: list[StoredMessage] = []
        candidates = self._backlog.candidates()
        while len(received) < limit and (message := next(candidates, None)) is not None:
            if not self._redrive(message):
                message.receive_count += 1
                message.received_ms = now_ms
                message.first_received_ms = message.first_received_ms or now_ms
                if hidden_ms:
                    self._hide(message, now_ms + hidden_ms)
                received.append(message)
        if not hidden_ms:
            for message in received:
                self._backlog.show(message)
        return received

    def receipt_handle(self, message: StoredMessage) -> str:
        """Return the handle of the message's last receive."""
        return f"{self._mark}+{message.key}/{message.receive_count}=="

    def delete(self, handle: str) -> None:
        """Delete the message if `handle` is of its last receive; it may be deleted already.

        A FIFO queue refuses an older or expired handle; in a standard queue an older does nothing.
        """
        if self.is_fifo:
            self._advance()  # only there does it matter whether a handle has expired
        message, is_newest = self._look_up(handle)
        if message is None:
            return
        if self.is_fifo and (not is_newest or message.is_visible):
            raise _bad_handle("The receipt handle has expired.")
        if is_newest:
            self._remove(message)

    def change_visibility(self, handle: str, seconds: int) -> None:
        """Let the message become visible `seconds` from now.

        A FIFO queue takes only the newest handle, until it expires; a standard queue takes any.
        """
        now_ms = self._advance()
        message, is_newest = self._look_up(handle)
        if message is None or (self.is_fifo and not is_newest):
            raise _bad_handle("Message does not exist or is not available for the change.")
        if self.is_fifo and message.is_visible:
            raise SqsError(MESSAGE_NOT_IN_FLIGHT, "The specified message isn't in flight.")
        if now_ms - message.received_ms + seconds * 1000 > MAX_VISIBILITY_SECONDS * 1000:
            text = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]."
            raise SqsError(INVALID_PARAMETER, text)
        if seconds:
            self._hide(message, now_ms + seconds * 1000)
        else:
            self._show(message)

    def purge(self) -> None:
        for message in self.messages():
            self._remove(message)

    def adopt(self, message: StoredMessage, *, source_arn: str | None = None) -> None:
        """Store a deleted message once more, or with a source that queue's dead letter.

        Its id stays, and in a standard queue its time of sending. In a FIFO queue that is the time
        of the move, and the id becomes the deduplication id (Developer Guide, "Setting-up
        dead-letter queue retention" and "Configure a dead-letter queue redrive").
        """
        now_ms = self._advance()
        update: dict[str, object] = {"delay_seconds": 0}
        adopted = replace(
            message,
            hidden_until_ms=0,
            is_deleted=False,
            is_listed=False,
            dead_letter_source=source_arn,
        )
        if self.is_fifo and source_arn:
            adopted.sent_ms = now_ms
            update["deduplication_id"] = message.message_id
        adopted.draft = message.draft.model_copy(update=update)
        self._store(adopted, now_ms)

    def _advance(self) -> int:
        """Show what is due, and return the time."""
        now_ms = self._clock_ms()
        while (next_ms := self.next_change_ms()) is not None and next_ms <= now_ms:
            self._show(self._hidden[heappop(self._shown_at)[1]])
        return now_ms

    def _new_message(self, draft: Draft, now_ms: int) -> StoredMessage:
        """Make a message with a random id in the form of a UUID of version 4 (RFC 9562)."""
        digits = f"{self._random_bits(128):032x}"
        message_id = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
        encoded = draft.body.encode("utf-8", "surrogatepass")
        digest = md5(encoded, usedforsecurity=False).hexdigest()
        return StoredMessage(message_id, draft, digest, now_ms)

    def _store(self, message: StoredMessage, now_ms: int) -> StoredMessage:
        self._last_key += 1
        message.key = self._last_key
        self._messages[message.key] = message
        self._backlog.add(message)
        seconds = message.draft.delay_seconds
        if seconds is None:
            seconds = self.settings.delay_seconds
        if seconds:
            self._hide(message, now_ms + seconds * 1000)
        else:
            self._show(message)
        return message

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

    def _hide(self, message: StoredMessage, until_ms: int) -> None:
        message.hidden_until_ms = until_ms
        self._hidden[message.key] = message
        heappush(self._shown_at, (until_ms, message.key))
        if len(self._shown_at) > 2 * len(self._hidden) + _FEW:
            # Most entries count no more; what is sorted is a heap.
            self._shown_at = sorted((m.hidden_until_ms, key) for key, m in self._hidden.items())

    def _show(self, message: StoredMessage) -> None:
        message.hidden_until_ms = 0
        self._hidden.pop(message.key, None)
        self._backlog.show(message)
        self._on_change()

    def _remove(self, message: StoredMessage) -> None:
        message.is_deleted = True
        del self._messages[message.key]
        self._hidden.pop(message.key, None)
        self._on_change()  # a later message of its group may be received

    def _look_up(self, handle: str) -> tuple[StoredMessage | None, bool]:
        """Return the message, None if it is deleted, and whether the handle is its newest."""
        match = _HANDLE.fullmatch(handle)
        if match is None or match[1] != self._mark:
            raise SqsError(RECEIPT_HANDLE_IS_INVALID, "The input receipt handle is invalid.")
        message = self._messages.get(int(match[2]))
        return message, message is not None and message.receive_count == int(match[3])


def _bad_handle(reason: str) -> SqsError:
    text = f"The value for parameter ReceiptHandle is invalid. Reason: {reason}"
    return SqsError(INVALID_PARAMETER, text)
