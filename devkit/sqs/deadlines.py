"""Deadlines that can be moved and dropped, in their order."""

from heapq import heapify, heappop, heappush

_FEW = 64


class Deadlines:
    """The deadline of each key, in milliseconds; every method is O(log n), amortised.

    A moved or dropped deadline stays in the heap until it comes to the top, or until more than
    half of the heap is of that kind: then the heap is built anew.
    """

    def __init__(self) -> None:
        self._deadline_of: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._deadline_of)

    def set(self, key: int, deadline_ms: int) -> None:
        self._deadline_of[key] = deadline_ms
        heappush(self._heap, (deadline_ms, key))
        if len(self._heap) > 2 * len(self._deadline_of) + _FEW:
            self._heap = [(deadline_ms, key) for key, deadline_ms in self._deadline_of.items()]
            heapify(self._heap)

    def discard(self, key: int) -> None:
        self._deadline_of.pop(key, None)

    def first(self) -> int | None:
        while self._heap:
            deadline_ms, key = self._heap[0]
            if self._deadline_of.get(key) == deadline_ms:
                return deadline_ms
            heappop(self._heap)
        return None

    def take_due(self, now_ms: int) -> list[int]:
        """Take out and return, earliest first, the keys whose deadline has come."""
        heap, due = self._heap, []
        while heap and heap[0][0] <= now_ms:
            deadline_ms, key = heappop(heap)
            if self._deadline_of.get(key) == deadline_ms:
                del self._deadline_of[key]
                due.append(key)
        return due
