"""A queue's visible messages in the order in which they are received.

A backlog is a view: a message's own state says whether it is visible. The order of message groups:
Amazon SQS Developer Guide, "FIFO queue delivery logic".
"""

from collections import deque
from collections.abc import Iterator

from devkit.sqs.messages import State, StoredMessage

_DEDUPLICATION_MS = 300_000
_Key = tuple[str | None, str | None]


class StandardBacklog:
    """First come, first served; a message stands here only while it is visible."""

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
            if message.state is State.VISIBLE:
                yield message


class FifoBacklog:
    """Within a message group by time of sending; the groups in turn.

    A message waits for every earlier one of its group; one receive may have several in a row. A
    receive looks at every group.
    """

    def __init__(self) -> None:
        self._groups: dict[str, deque[StoredMessage]] = {}

    def add(self, message: StoredMessage) -> None:
        self._groups.setdefault(message.draft.group_id or "", deque()).append(message)

    def show(self, message: StoredMessage) -> None:
        """Do nothing: a message has its place in its group until it is deleted."""

    def candidates(self) -> Iterator[StoredMessage]:
        for group_id in list(self._groups):
            group = self._groups.pop(group_id)
            while group and group[0].state is State.GONE:
                group.popleft()
            if group:
                self._groups[group_id] = group  # at the end: its turn is over
                yield from self._in_a_row(group)

    @staticmethod
    def _in_a_row(group: deque[StoredMessage]) -> Iterator[StoredMessage]:
        """Yield the messages of a group up to the first that is in flight or delayed."""
        for message in group:
            if message.state is State.VISIBLE:
                yield message
            elif message.state is not State.GONE:
                return


class Deduplication:
    """What a FIFO queue was sent within five minutes, deleted messages included."""

    def __init__(self) -> None:
        self._messages: dict[_Key, StoredMessage] = {}
        self._ends: deque[tuple[int, _Key]] = deque()

    def find(self, key: _Key, now_ms: int) -> StoredMessage | None:
        """Return what was sent under this scope, a group or none, and deduplication id."""
        while self._ends and self._ends[0][0] <= now_ms:
            del self._messages[self._ends.popleft()[1]]
        return self._messages.get(key)

    def add(self, key: _Key, message: StoredMessage, now_ms: int) -> None:
        self._messages[key] = message
        self._ends.append((now_ms + _DEDUPLICATION_MS, key))
