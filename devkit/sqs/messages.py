"""Messages as a queue stores them, and the order in which they are received.

The order of message groups: Amazon SQS Developer Guide, "FIFO queue delivery logic".
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from devkit.sqs.requests import Draft

_DEDUPLICATION_MS = 300_000
_DeduplicationKey = tuple[str | None, str | None]


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A message in its queue.

    `key` is its place there, `receive_count` also says which receipt handle is the newest.
    `hidden_until_ms` is 0 while the message is visible. `is_listed`: it stands in a standard
    queue's backlog, where it may have become invisible.
    """

    message_id: str
    draft: Draft
    body_md5: str
    sent_ms: int
    key: int = 0
    hidden_until_ms: int = 0
    is_deleted: bool = False
    is_listed: bool = False
    receive_count: int = 0
    received_ms: int = 0
    first_received_ms: int = 0
    dead_letter_source: str | None = None

    @property
    def body(self) -> str:
        return self.draft.body

    @property
    def sequence_number(self) -> str | None:
        """SequenceNumber of a FIFO queue: 20 digits, growing."""
        return f"{self.key:020d}" if self.draft.deduplication_id else None

    @property
    def is_visible(self) -> bool:
        return not (self.hidden_until_ms or self.is_deleted)


class StandardBacklog:
    """First come, first served; a message is listed only while it is visible."""

    def __init__(self) -> None:
        self._messages: deque[StoredMessage] = deque()

    def add(self, message: StoredMessage) -> None:
        """Take in a message that was sent."""

    def show(self, message: StoredMessage) -> None:
        """Take in a message that has become visible, for the first time or again."""
        if not message.is_listed:
            message.is_listed = True
            self._messages.append(message)

    def candidates(self) -> Iterator[StoredMessage]:
        """Yield, one by one, what a receive may have; what stays visible is to be shown again."""
        while self._messages:
            message = self._messages.popleft()
            message.is_listed = False
            if message.is_visible:
                yield message


class FifoBacklog:
    """Within a message group by time of sending; the groups in turn.

    A message waits for every earlier one of its group; one receive may have several in a row. A
    receive looks at every group.
    """

    def __init__(self) -> None:
        self._groups: dict[str | None, deque[StoredMessage]] = {}

    def add(self, message: StoredMessage) -> None:
        self._groups.setdefault(message.draft.group_id, deque()).append(message)

    def show(self, message: StoredMessage) -> None:
        """Do nothing: a message has its place in its group until it is deleted."""

    def candidates(self) -> Iterator[StoredMessage]:
        for group_id in list(self._groups):
            group = self._groups.pop(group_id)
            while group and group[0].is_deleted:
                group.popleft()
            if group:
                self._groups[group_id] = group  # at the end: its turn is over
            for message in group:
                if message.is_visible:
                    yield message
                elif not message.is_deleted:
                    break


class Deduplication:
    """What a FIFO queue was sent within five minutes, deleted messages included."""

    def __init__(self) -> None:
        self._messages: dict[_DeduplicationKey, StoredMessage] = {}
        self._ends: deque[tuple[int, _DeduplicationKey]] = deque()

    def find(self, key: _DeduplicationKey, now_ms: int) -> StoredMessage | None:
        """Return what was sent under this scope, a group or none, and deduplication id."""
        while self._ends and self._ends[0][0] <= now_ms:
            del self._messages[self._ends.popleft()[1]]
        return self._messages.get(key)

    def add(self, key: _DeduplicationKey, message: StoredMessage, now_ms: int) -> None:
        self._messages[key] = message
        self._ends.append((now_ms + _DEDUPLICATION_MS, key))
