"""What the pipeline asks of its surroundings, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.messages import Message, Outcome, Quarantined, Reason, Written

# SQS takes and gives at most ten messages a call (Amazon SQS message quotas).
MESSAGES_A_CALL = 10


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that a batch call did not act on.

    `final`: the receipt handle is void, so trying again is of no use and the message will come
    again; otherwise the fault is the queue's and the call may be repeated.
    """

    message: Message
    code: str
    final: bool


class Source(Protocol):
    """A queue. Each call ends by its own deadline and raises QueueError if it failed as a whole."""

    async def receive(self) -> Sequence[Message]:
        """Long-poll once for up to ten messages."""

    async def delete(self, messages: Sequence[Message]) -> Sequence[Refused]:
        """Delete up to ten messages; return those that were not."""

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[Refused]:
        """Hide up to ten messages for `seconds` from now (0: show them); return the refused."""


class Sink(Protocol):
    """A database."""

    async def write(self, batch: Sequence[Outcome]) -> Written:
        """Commit a batch, each message once however often it is written.

        Raises:
            DataRejectedError: a row's data was refused; nothing of the batch was committed.
            DatabaseRefusedError: someone has to act first; nothing was committed.
            DatabaseError: the batch may or may not be committed and is to be written again.
        """


class Transform(Protocol):
    """What becomes of messages, as a pure function."""

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Validate and mask messages: an outcome for each, in their order."""

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        """Seal a message that cannot be a row."""
