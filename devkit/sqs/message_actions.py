"""The operations on messages, but for ReceiveMessage: that one may have to wait.

Parameters and answers have the shapes of the JSON protocol (Amazon SQS API Reference, page of
each action).
"""

from collections.abc import Mapping

from devkit.sqs.attributes import MAX_MESSAGE_BYTES, MAX_VISIBILITY_SECONDS
from devkit.sqs.calls import Call, each_entry
from devkit.sqs.drafts import draft_of, ids_of, size_of
from devkit.sqs.errors import BATCH_REQUEST_TOO_LONG, SqsError, missing
from devkit.sqs.messages import Draft
from devkit.sqs.parameters import (
    Json,
    Parameters,
    inner_list_of,
    integer_of,
    text_of,
)
from devkit.sqs.queue import Queue


def change_message_visibility(call: Call) -> None:
    """ChangeMessageVisibility."""
    _change_visibility(call.queue(), call.parameters)


def change_message_visibility_batch(call: Call) -> Json:
    """ChangeMessageVisibilityBatch."""
    queue = call.queue()
    return each_entry(call, lambda entry: _change_visibility(queue, entry))


def delete_message(call: Call) -> None:
    """DeleteMessage."""
    _delete(call.queue(), call.parameters)


def delete_message_batch(call: Call) -> Json:
    """DeleteMessageBatch."""
    queue = call.queue()
    return each_entry(call, lambda entry: _delete(queue, entry))


def send_message(call: Call) -> Json:
    """SendMessage."""
    queue = call.queue()
    return _send(queue, draft_of(call.parameters, queue.settings))


def send_message_batch(call: Call) -> Json:
    """SendMessageBatch."""
    queue = call.queue()
    _check_batch(queue, inner_list_of(call.parameters, "Entries"))
    return each_entry(call, lambda entry: _send(queue, draft_of(entry, queue.settings)))


def _change_visibility(queue: Queue, entry: Parameters) -> Mapping[str, Json]:
    handle = text_of(entry, "ReceiptHandle")
    seconds = integer_of(entry, "VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS)
    if seconds is None:
        raise missing("VisibilityTimeout")
    queue.change_visibility(handle, seconds)
    return {}


def _delete(queue: Queue, entry: Parameters) -> Mapping[str, Json]:
    queue.delete(text_of(entry, "ReceiptHandle"))
    return {}


def _send(queue: Queue, draft: Draft) -> Mapping[str, Json]:
    sent = queue.send(draft)
    answer: dict[str, Json] = {"MessageId": sent.message_id, "MD5OfMessageBody": draft.body_md5}
    if draft.attributes_md5:
        answer["MD5OfMessageAttributes"] = draft.attributes_md5
    if sent.sequence_number:
        answer["SequenceNumber"] = sent.sequence_number
    return answer


def _check_batch(queue: Queue, entries: list[Parameters]) -> None:
    """Refuse the whole batch for its size, or for a missing id in a FIFO queue."""
    size = sum(map(size_of, entries))
    if size > MAX_MESSAGE_BYTES:
        raise SqsError(
            BATCH_REQUEST_TOO_LONG,
            f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. "
            f"You have sent {size} bytes.",
        )
    if queue.settings.is_fifo:
        for entry in entries:
            ids_of(entry, queue.settings, b"")
