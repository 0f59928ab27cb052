"""Batch calls to the queue: what came of one, and when the next may be made."""

from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass

from consumer import hooks
from consumer.backoff import Backoff
from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.ports import MESSAGES_A_CALL, Refused


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """How a batch call ended: acted on, handle void, to be tried again, and the error if any."""

    done: Sequence[Message]
    void: Sequence[Message]
    left: Sequence[Message]
    error: QueueError | None


async def answer_of(
    operation: str, call: Awaitable[Sequence[Refused]], messages: Sequence[Message]
) -> BatchAnswer:
    """Wait for a batch call; one that was refused in part has an error, as one that failed has."""
    try:
        refused = {each.message.message_id: each for each in await call}
    except QueueError as error:
        return BatchAnswer((), (), messages, error)
    if not refused:
        return BatchAnswer(messages, (), (), None)
    done = [m for m in messages if m.message_id not in refused]
    void = [each.message for each in refused.values() if each.final]
    left = [each for each in refused.values() if not each.final]
    failure = QueueError(operation, left[0].code) if left else None
    return BatchAnswer(done, void, [each.message for each in left], failure)


def in_tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into batches that one call takes."""
    return (
        messages[start : start + MESSAGES_A_CALL]
        for start in range(0, len(messages), MESSAGES_A_CALL)
    )


class Tries:
    """The tries of one operation: backs off while it fails, and tells of both."""

    def __init__(self, operation: str, backoff: Backoff, emit: hooks.Listener) -> None:
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
        self._emit(hooks.QueueFailed(error.operation, error.code, refused, pause_seconds))
        return pause_seconds

    def worked(self) -> None:
        """Count a success."""
        if self._backoff.failing:
            self._backoff.succeeded()
            self._emit(hooks.QueueRecovered(self.operation))
