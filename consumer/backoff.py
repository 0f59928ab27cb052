"""How long to wait before what failed is tried again."""

from collections.abc import Callable


class Backoff:
    """Exponential back-off with jitter, for one operation.

    Each pause is drawn between `min_seconds` and a ceiling that doubles with every failure up to
    `max_seconds` (AWS Architecture Blog, "Exponential Backoff And Jitter"). The lower bound keeps
    the rate of tries bounded from the first failure on. `uniform(a, b)` is the randomness.
    """

    def __init__(
        self, min_seconds: float, max_seconds: float, uniform: Callable[[float, float], float]
    ) -> None:
        self._min_seconds = min_seconds
        self._max_seconds = max_seconds
        self._uniform = uniform
        self._ceiling_seconds = min_seconds

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._ceiling_seconds > self._min_seconds

    def pause_seconds(self, *, refused: bool = False) -> float:
        """Count a failure and return the pause before the next try.

        What was `refused` will be again until someone acts, so its ceiling is the highest at once.
        """
        doubled = min(self._max_seconds, self._ceiling_seconds * 2)
        self._ceiling_seconds = self._max_seconds if refused else doubled
        return self._uniform(self._min_seconds, self._ceiling_seconds)

    def succeeded(self) -> None:
        """Start again from the shortest pause."""
        self._ceiling_seconds = self._min_seconds
