"""What a FIFO queue remembers of what was sent, to drop it when it is sent again."""

from collections import deque

from devkit.sqs.messages import Sent

_Key = tuple[str, str]


class Deduplication:
    """Sends of the last `interval_ms`, deleted messages among them."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._sent: dict[_Key, Sent] = {}
        self._ends: deque[tuple[int, _Key]] = deque()

    def find(self, scope: str, deduplication_id: str, now_ms: int) -> Sent | None:
        """Return the earlier send under this id; `scope` is a group, or empty for the queue."""
        while self._ends and self._ends[0][0] <= now_ms:
            del self._sent[self._ends.popleft()[1]]
        return self._sent.get((scope, deduplication_id))

    def remember(self, scope: str, deduplication_id: str, sent: Sent, now_ms: int) -> None:
        """Note a send that `find` did not know."""
        key = scope, deduplication_id
        self._sent[key] = sent
        self._ends.append((now_ms + self._interval_ms, key))
