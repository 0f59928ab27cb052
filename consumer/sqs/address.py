"""Where a queue is; apart from what calls it, which takes long to import."""

import re
from dataclasses import dataclass
from typing import Literal

_REGION_IN_URL = re.compile(r"^https?://(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)amazonaws\.")


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """Where the queue is and how to speak to it.

    `endpoint_url` None is the queue URL's own server, `region` None the one that the queue URL, the
    environment or the profile names. `max_open_calls` is how many calls are ever open at once: if
    a delete had to wait for the connection of a long poll, polls could stop the deleting.
    """

    queue_url: str
    endpoint_url: str | None = None
    region: str | None = None
    transport: Literal["lean", "aiobotocore"] = "lean"
    protocol: Literal["auto", "json", "query"] = "auto"
    max_open_calls: int = 50
    longest_call_seconds: float = 30.0


def region_in(queue_url: str) -> str | None:
    """The region that the URL of a queue of AWS's own names."""
    match = _REGION_IN_URL.match(queue_url)
    return match and (match[1] or match[2])
