"""What was seen while it ran, and what it says of a fault."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_FULL_SHARE = 0.9
_WINDOW_SECONDS = 0.5
# What is open when a fault begins fails at once, and is no try.
_OPEN_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """One look at everything; `at` is in seconds since the beginning, counts are since then too.

    `queue_tries` and `database_tries` are what clients asked of each, answered or not.
    """

    at: float
    sent: int
    deleted: int
    visible: int
    in_flight: int
    queue_tries: int
    database_tries: int
    resident_bytes: Mapping[str, int]


@dataclass
class Span:
    """A fault, from when it began until it was healed; `down` is the counter of what was down."""

    name: str
    began: float
    healed: float | None = None
    down: str | None = None
    replicas: int = 1


@dataclass
class Timeline:
    """Everything seen, in order."""

    rate: float
    seen: list[Seen] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def seconds_to_be_back(self, span: Span) -> float | None:
        """How long after the healing the messages deleted reached the rate of those sent.

        None if that was not seen, or if something else was down meanwhile.
        """
        if span.healed is None:
            return None
        for start in range(bisect_left(self.seen, span.healed, key=_at), len(self.seen)):
            if self._is_full(start):
                back = self.seen[start].at
                return None if self._is_disturbed(span, back) else back - span.healed
        return None

    def _is_disturbed(self, span: Span, back: float) -> bool:
        assert span.healed is not None
        return any(
            other.down is not None
            and other is not span
            and other.began <= back
            and (other.healed is None or other.healed >= span.healed)
            for other in self.spans
        )

    def _is_full(self, start: int) -> bool:
        first = self.seen[start]
        for later in self.seen[start + 1 :]:
            seconds = later.at - first.at
            if seconds >= _WINDOW_SECONDS:
                return later.deleted - first.deleted >= _FULL_SHARE * self.rate * seconds
        return False

    def tries_a_second(self, span: Span) -> float | None:
        """Requests a second and replica to what was down, from a second after it went down on.

        None if nothing was down, or not for so long.
        """
        if span.down is None or span.healed is None:
            return None
        began = span.began + _OPEN_SECONDS
        during = [each for each in self.seen if began <= each.at <= span.healed]
        if len(during) < 2:
            return None
        first, last = during[0], during[-1]
        tries = getattr(last, span.down) - getattr(first, span.down)
        return float(tries / (last.at - first.at) / span.replicas)

    def throughput(self) -> tuple[Sequence[float], Sequence[float]]:
        """Times, and the messages deleted a second up to each."""
        pairs = list(zip(self.seen, self.seen[1:], strict=False))
        rates = [(b.deleted - a.deleted) / (b.at - a.at) for a, b in pairs if b.at > a.at]
        return [b.at for a, b in pairs if b.at > a.at], rates


def _at(seen: Seen) -> float:
    return seen.at
