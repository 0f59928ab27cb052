"""Retrying: how long to pause after a failure, and what a batch call to the queue left to do."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, BatchFailure
from consumer.telemetry import events as telemetry


class Backoff:
    """Exponential back-off with jitter, for one operation.

    Each pause is drawn between `min_seconds` and a ceiling that doubles with every failure up to
    `max_seconds` (AWS Architecture Blog, "Exponential Backoff And Jitter"). The lower bound limits
    the rate of retries from the first failure on. `uniform(a, b)` is the randomness.
    """

    def __init__(
        self, min_seconds: float, max_seconds: float, uniform: Callable[[float, float], float]
    ) -> None:
        self._min_seconds = min_seconds
        self._max_seconds = max_seconds
        self._uniform = uniform
        self._ceiling_seconds = min_seconds
        self.failing = False  # whether the last attempt failed

    def pause_seconds(self, *, refused: bool = False) -> float:
        """Count a failure and return the pause before the next attempt.

        A refused call fails until someone acts, so its ceiling is the highest at once.
        """
        self.failing = True
        doubled = min(self._max_seconds, self._ceiling_seconds * 2)
        self._ceiling_seconds = self._max_seconds if refused else doubled
        return self._uniform(self._min_seconds, self._ceiling_seconds)

    def succeeded(self) -> None:
        """Start again from the shortest pause."""
        self._ceiling_seconds = self._min_seconds
        self.failing = False


class RetryState:
    """Whether one operation of the queue fails; reports each failure and the recovery."""

    def __init__(self, operation: str, backoff: Backoff, emit: telemetry.Listener) -> None:
        self.operation = operation
        self._backoff = backoff
        self._emit = emit

    @property
    def failing(self) -> bool:
        """Whether the last call failed."""
        return self._backoff.failing

    def failed(self, error: QueueError) -> float:
        """Count a failure; return the seconds to pause."""
        refused = isinstance(error, QueueRefusedError)
        pause_seconds = self._backoff.pause_seconds(refused=refused)
        self._emit(telemetry.QueueFailed(error.operation, error.code, refused, pause_seconds))
        return pause_seconds

    def succeeded(self) -> None:
        """Count a success."""
        if self._backoff.failing:
            self._backoff.succeeded()
            self._emit(telemetry.QueueRecovered(self.operation))


@dataclass(frozen=True, slots=True)
class BatchCallResult:
    """How a batch call ended; with an `error`, the messages in neither list must be retried."""

    succeeded: Sequence[Message]
    handle_expired: Sequence[Message]
    error: QueueError | None


async def run_batch_call(
    operation: str, call: Awaitable[Sequence[BatchFailure]], messages: Sequence[Message]
) -> BatchCallResult:
    """Await a batch call. A partial failure has an error, like a call that failed as a whole."""
    try:
        failures = {each.message.message_id: each for each in await call}
    except QueueError as error:
        return BatchCallResult((), (), error)
    if not failures:
        return BatchCallResult(messages, (), None)
    succeeded = [m for m in messages if m.message_id not in failures]
    expired = [each.message for each in failures.values() if each.handle_expired]
    codes = [each.code for each in failures.values() if not each.handle_expired]
    return BatchCallResult(succeeded, expired, QueueError(operation, codes[0]) if codes else None)


def in_tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into batches that fit one call."""
    return (
        messages[start : start + MESSAGES_A_CALL]
        for start in range(0, len(messages), MESSAGES_A_CALL)
    )
