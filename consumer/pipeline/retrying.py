"""How long to wait before a failed call is made again, and how a batch call ended."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, Refused
from consumer.telemetry import events as telemetry


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


@dataclass(frozen=True, slots=True)
class BatchCallResult:
    """How a batch call ended: acted on, handle void, to be tried again, and the error if any."""

    done: Sequence[Message]
    void: Sequence[Message]
    left: Sequence[Message]
    error: QueueError | None


async def run_batch_call(
    operation: str, call: Awaitable[Sequence[Refused]], messages: Sequence[Message]
) -> BatchCallResult:
    """Wait for a batch call; one that was refused in part has an error, as one that failed has."""
    try:
        refused = {each.message.message_id: each for each in await call}
    except QueueError as error:
        return BatchCallResult((), (), messages, error)
    if not refused:
        return BatchCallResult(messages, (), (), None)
    done = [m for m in messages if m.message_id not in refused]
    void = [each.message for each in refused.values() if each.final]
    left = [each for each in refused.values() if not each.final]
    failure = QueueError(operation, left[0].code) if left else None
    return BatchCallResult(done, void, [each.message for each in left], failure)


def in_tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into batches that one call takes."""
    return (
        messages[start : start + MESSAGES_A_CALL]
        for start in range(0, len(messages), MESSAGES_A_CALL)
    )


class RetryState:
    """The tries of one operation: backs off while it fails, and tells of both."""

    def __init__(self, operation: str, backoff: Backoff, emit: telemetry.Listener) -> None:
        self.operation = operation
        self._backoff = backoff
        self._emit = emit

    @property
    def failing(self) -> bool:
        """Whether the last one failed."""
        return self._backoff.failing

    def failed(self, error: QueueError) -> float:
        """Count a failure; return for how many seconds to pause."""
        refused = isinstance(error, QueueRefusedError)
        pause_seconds = self._backoff.pause_seconds(refused=refused)
        self._emit(telemetry.QueueFailed(error.operation, error.code, refused, pause_seconds))
        return pause_seconds

    def worked(self) -> None:
        """Count a success."""
        if self._backoff.failing:
            self._backoff.succeeded()
            self._emit(telemetry.QueueRecovered(self.operation))
