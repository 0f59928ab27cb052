"""What the queue says of itself, read once at the start."""

import json
from dataclasses import dataclass

from consumer.errors import QueueRefusedError
from consumer.sqs.answers import Payload, Transport

_SHORT_VISIBILITY_SECONDS = 10
_FEW_RECEIVES = 3


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A queue's attributes; `max_receives` is None without a dead-letter queue."""

    visibility_seconds: int
    max_receives: int | None
    fifo: bool
    visible: int
    in_flight: int

    def warnings(self) -> list[str]:
        """Return what an operator should know, a sentence each."""
        found = []
        if self.visibility_seconds < _SHORT_VISIBILITY_SECONDS:
            found.append(
                f"VisibilityTimeout is {self.visibility_seconds} s: messages come again whenever "
                "a call takes long; 30 s or more is better"
            )
        if self.max_receives is not None and self.max_receives < _FEW_RECEIVES:
            found.append(
                f"maxReceiveCount is {self.max_receives}: a restart or two sends good messages "
                f"to the dead-letter queue; {_FEW_RECEIVES} or more is better"
            )
        return found


async def queue_facts(
    transport: Transport, queue_url: str, *, timeout_seconds: float
) -> QueueFacts:
    """Read the queue's attributes.

    Raises:
        QueueError: it could not be reached.
        QueueRefusedError: it does not exist, may not be read, or hides nothing.
    """
    payload: Payload = {"QueueUrl": queue_url, "AttributeNames": ["All"]}
    answer = await transport.call("GetQueueAttributes", payload, timeout_seconds)
    attributes = answer.get("Attributes") or {}
    visibility_seconds = int(attributes.get("VisibilityTimeout", "30"))
    if visibility_seconds == 0:
        advice = "its VisibilityTimeout is 0, so every receive brings the same messages: set 30"
        raise QueueRefusedError("GetQueueAttributes", "VisibilityTimeoutIsZero", advice)
    redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
    return QueueFacts(
        visibility_seconds=visibility_seconds,
        max_receives=int(redrive["maxReceiveCount"]) if redrive else None,
        fifo=attributes.get("FifoQueue") == "true",
        visible=int(attributes.get("ApproximateNumberOfMessages", "0")),
        in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", "0")),
    )
