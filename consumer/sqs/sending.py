"""Sends messages for `consumer send` and the demo."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import QueueError
from consumer.sqs.api import Entry, Payload, Transport, failed_entries

# Amazon SQS message quotas: entries and total size of one SendMessageBatch.
_MAX_ENTRIES = 10
_MAX_BYTES = 1024 * 1024
_MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class FifoOrder:
    """What a FIFO queue needs of each message; deduplication ids are `prefix` and a position."""

    group_id: str
    prefix: str


def batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Cut bodies into batches that SQS accepts: ten at most, and 1 MiB together."""
    batch: list[str] = []
    size_bytes = 0
    for body in bodies:
        body_bytes = len(body.encode())
        if batch and (len(batch) == _MAX_ENTRIES or size_bytes + body_bytes > _MAX_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(body)
        size_bytes += body_bytes
    if batch:
        yield batch


async def send_batch(
    transport: Transport,
    queue_url: str,
    bodies: Sequence[str],
    *,
    timeout_seconds: float,
    fifo: FifoOrder | None = None,
) -> None:
    """Send up to ten messages; only those that SQS rejected are sent again.

    Raises:
        QueueError: the call failed, or an entry failed five times; the other messages may be sent.
    """
    left = {
        str(position): _entry(str(position), body, fifo) for position, body in enumerate(bodies)
    }
    code = ""
    for _ in range(_MAX_TRIES):
        payload: Payload = {"QueueUrl": queue_url, "Entries": list(left.values())}
        response = await transport.call("SendMessageBatch", payload, timeout_seconds)
        failed = failed_entries(response, left)
        if not failed:
            return
        left = {key: entry for key, entry in left.items() if key in failed}
        worst = next((e for e in failed.values() if e.sender_fault), None)
        code = (worst or next(iter(failed.values()))).code
        if worst is not None:
            break
    raise QueueError("SendMessageBatch", code, f"{len(left)} messages were not sent")


def _entry(entry_id: str, body: str, fifo: FifoOrder | None) -> Entry:
    if fifo is None:
        return {"Id": entry_id, "MessageBody": body}
    return {
        "Id": entry_id,
        "MessageBody": body,
        "MessageGroupId": fifo.group_id,
        "MessageDeduplicationId": fifo.prefix + entry_id,
    }
