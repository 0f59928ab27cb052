"""What the pipeline needs from its surroundings: a queue, a database, a transform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.messages import Message, Outcome, Quarantined, Reason, Written

# SQS takes and returns at most ten messages a call (Amazon SQS message quotas).
MESSAGES_A_CALL = 10


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """A message that a batch call did not act on.

    `handle_expired`: the receipt handle will never work again, and the message is redelivered.
    Otherwise the fault is the queue's, and the call may be repeated.
    """

    message: Message
    code: str
    handle_expired: bool


class Source(Protocol):
    """A queue. Each call ends by its own deadline and raises QueueError if it failed as a whole."""

    async def receive(self) -> Sequence[Message]:
        """Long-poll once for up to ten messages."""

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        """Delete up to ten messages; return the failures."""

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        """Hide up to ten messages for `seconds` from now, or release them with 0."""


class Sink(Protocol):
    """A database."""

    async def write(self, batch: Sequence[Outcome]) -> Written:
        """Commit a batch; each message once, however often it is written.

        Raises:
            DataRejectedError: a row's data was refused; nothing of the batch was committed.
            DatabaseRefusedError: someone has to act first; nothing was committed.
            DatabaseError: the batch may or may not be committed, and must be written again.
        """


class MessageTransform(Protocol):
    """What becomes of messages, as a pure function."""

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Validate and mask messages: one outcome for each, in the same order."""

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        """Seal a message that cannot be a row."""
