"""A queue: its address, and its attributes.

The client is apart from it, because aiobotocore takes long to import.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal

from consumer.errors import QueueError, QueueRefusedError
from consumer.sqs.api import Payload, Response, Transport, WireProtocol

_SHORT_VISIBILITY_SECONDS = 10
_FEW_RECEIVES = 3
_REGION_IN_URL = re.compile(r"^https?://(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)amazonaws\.")


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """Where the queue is and how to call it.

    `endpoint_url` None is the server of the queue URL. `region` None is the region that the queue
    URL, the environment or the profile names. `max_open_calls` bounds the connections: a delete
    must never wait for the connection of a long poll.
    """

    queue_url: str
    endpoint_url: str | None = None
    region: str | None = None
    transport: Literal["lean", "aiobotocore"] = "lean"
    protocol: WireProtocol | Literal["auto"] = "auto"
    max_open_calls: int = 50
    longest_call_seconds: float = 30.0


def region_in(queue_url: str) -> str | None:
    """Return the region that a queue URL of AWS names."""
    match = _REGION_IN_URL.match(queue_url)
    return match and (match[1] or match[2])


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """What SQS reports about a queue; `max_receives` is None without a dead-letter queue."""

    visibility_seconds: int
    max_receives: int | None
    fifo: bool
    visible: int
    in_flight: int

    def warnings(self) -> list[str]:
        """Return what an operator should change, a sentence each."""
        found = []
        if self.visibility_seconds < _SHORT_VISIBILITY_SECONDS:
            found.append(
                f"VisibilityTimeout is {self.visibility_seconds} s: messages are redelivered "
                "whenever a call takes long; 30 s or more is better"
            )
        if self.max_receives is not None and self.max_receives < _FEW_RECEIVES:
            found.append(
                f"maxReceiveCount is {self.max_receives}: a restart or two sends good messages "
                f"to the dead-letter queue; {_FEW_RECEIVES} or more is better"
            )
        return found


async def queue_attributes(
    transport: Transport, queue_url: str, *, timeout_seconds: float
) -> QueueAttributes:
    """Read the queue's attributes.

    Raises:
        QueueError: the queue could not be reached, or its response not be read.
        QueueRefusedError: the queue does not exist, may not be read, or has no visibility timeout.
    """
    payload: Payload = {"QueueUrl": queue_url, "AttributeNames": ["All"]}
    response = await transport.call("GetQueueAttributes", payload, timeout_seconds)
    found = _attributes_of(response)
    if found.visibility_seconds == 0:
        advice = "its VisibilityTimeout is 0, so every receive returns the same messages: set 30"
        raise QueueRefusedError("GetQueueAttributes", "VisibilityTimeoutIsZero", advice)
    return found


def _attributes_of(response: Response) -> QueueAttributes:
    attributes = response.get("Attributes") or {}
    if not isinstance(attributes, dict):
        raise QueueError("GetQueueAttributes", "MalformedResponse")
    try:
        redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
        return QueueAttributes(
            visibility_seconds=_count(attributes.get("VisibilityTimeout", "30")),
            max_receives=_count(redrive["maxReceiveCount"]) if redrive else None,
            fifo=attributes.get("FifoQueue") == "true",
            visible=_count(attributes.get("ApproximateNumberOfMessages", "0")),
            in_flight=_count(attributes.get("ApproximateNumberOfMessagesNotVisible", "0")),
        )
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        raise QueueError("GetQueueAttributes", "MalformedResponse") from None


def _count(value: str | int) -> int:
    count = int(value)
    if count < 0:
        raise ValueError
    return count
