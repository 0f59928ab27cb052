"""Which messages the next batch has, and when it may start: pure, the clock is passed in."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat

from consumer.messages import Message


class Batcher:
    """Messages that wait for a writer, oldest first.

    Natural batching: a free writer takes whatever waits, so batches are small and quick at low
    load, and large at high load. With a linger, it waits that long after the first message.
    """

    def __init__(self, max_rows: int, max_bytes: int, linger_seconds: float = 0.0) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._linger_seconds = linger_seconds
        # With the time of arrival. Pollers append, writers remove.
        self._waiting: deque[tuple[float, Message]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, messages: Iterable[Message], now: float) -> None:
        self._waiting.extend(zip(repeat(now), messages))

    def wait_seconds(self, now: float) -> float | None:
        """Seconds until a batch may be taken: 0 for at once, None while nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._max_rows:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._linger_seconds - now)

    def take(self) -> Sequence[Message]:
        """Remove and return the next batch: within both bounds, but at least one message."""
        waiting = [message for _, message in islice(self._waiting, self._max_rows)]
        batch = next(runs_of(waiting, self._max_rows, self._max_bytes), ())
        for _ in batch:
            self._waiting.popleft()
        return batch


def runs_of(
    messages: Sequence[Message], max_messages: int, max_bytes: int
) -> Iterator[Sequence[Message]]:
    """Cut messages into runs within both bounds, each of at least one message."""
    start, size_bytes = 0, 0
    for position, message in enumerate(messages):
        size_bytes += message.size
        is_full = size_bytes > max_bytes or position - start == max_messages
        if is_full and position > start:
            yield messages[start:position]
            start, size_bytes = position, message.size
    if start < len(messages):
        yield messages[start:]
