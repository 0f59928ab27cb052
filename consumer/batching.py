"""Which outcomes the next statement carries, and when it may go: pure, the clock is passed in."""

from collections import deque

from consumer.messages import Outcome


class Batcher:
    """Outcomes that wait for a writer, oldest first.

    Natural batching: a free writer takes whatever is there, so batches are small and quick at low
    load, and large at high load. With a linger it waits so long after the first for more to come.
    """

    def __init__(self, max_rows: int, max_bytes: int, linger_seconds: float = 0.0) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._linger_seconds = linger_seconds
        self._waiting: deque[tuple[float, Outcome]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, outcome: Outcome, now: float) -> None:
        """Queue an outcome that was ready at `now`."""
        self._waiting.append((now, outcome))

    def wait_seconds(self, now: float) -> float | None:
        """Tell how long until a batch may be taken: 0 for at once, None while there is nothing."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._max_rows:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._linger_seconds - now)

    def take(self) -> list[Outcome]:
        """Remove and return the next batch: within both bounds, but never fewer than one."""
        batch: list[Outcome] = []
        size_bytes = 0
        while self._waiting and len(batch) < self._max_rows:
            outcome = self._waiting[0][1]
            size_bytes += outcome.message.size
            if batch and size_bytes > self._max_bytes:
                break
            batch.append(outcome)
            self._waiting.popleft()
        return batch
