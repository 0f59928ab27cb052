"""What a run reports when it is over."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.harness.rig import Result
from tests.faults.harness.timeline import Timeline

# What the service is to keep to (I8).
BACK_SECONDS = 5.0
TRIES_A_SECOND = 5.0


@dataclass(frozen=True)
class Outcome:
    """A run's name, how it ended and what was seen; `skipped` says why it was not made.

    `failed` names the error that ended it before it could be judged.
    """

    name: str
    number: int = 0
    result: Result | None = None
    timeline: Timeline | None = None
    skipped: str = ""
    failed: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.failed:
            return f"not judged: {self.failed}"
        if self.result is None:
            return f"skipped: {self.skipped}"
        if self.result.kept:
            return "kept"
        broken = [str(kind) for kind in sorted(self.result.verdict.kinds)]
        return "; ".join((*broken, *self.result.problems))

    @property
    def kept(self) -> bool:
        """Whether no promise was broken, as far as there was anything to judge."""
        return not self.failed and (self.result is None or self.result.kept)

    @property
    def back(self) -> list[tuple[float, str]]:
        """For each fault how long after its healing the full rate was reached, and its name."""
        if self.timeline is None:
            return []
        timeline = self.timeline
        found = [(timeline.seconds_to_be_back(span), span.name) for span in timeline.spans]
        return [(seconds, name) for seconds, name in found if seconds is not None]

    @property
    def back_seconds(self) -> list[float]:
        """The first halves of `back`."""
        return [seconds for seconds, _ in self.back]

    @property
    def tries(self) -> list[float]:
        """For each fault that had something down, the requests a second and replica to it."""
        if self.timeline is None:
            return []
        found = (self.timeline.tries_a_second(span) for span in self.timeline.spans)
        return [tries for tries in found if tries is not None]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
