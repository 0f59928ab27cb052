"""The operations on messages, and what they have in common as batches.

Parameters and results have the shapes of the JSON protocol (Amazon SQS API Reference, page of each
action).
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256

from devkit.sqs.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    BATCH_REQUEST_TOO_LONG,
    EMPTY_BATCH_REQUEST,
    INVALID_BATCH_ENTRY_ID,
    INVALID_PARAMETER,
    MALFORMED,
    MISSING_PARAMETER,
    TOO_MANY_ENTRIES,
    SqsError,
)
from devkit.sqs.messages import StoredMessage
from devkit.sqs.queue import Queue
from devkit.sqs.queue_settings import MAX_MESSAGE_BYTES, FifoQueueSettings
from devkit.sqs.requests import (
    Draft,
    Json,
    Parameters,
    Receive,
    Request,
    VisibilityChange,
    byte_count,
    read,
    text_of,
)

_MAX_ENTRIES = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")

OnMessage = Callable[[Queue, Parameters], dict[str, Json]]


def _change_visibility(queue: Queue, parameters: Parameters) -> dict[str, Json]:
    handle = text_of(parameters, "ReceiptHandle")
    queue.change_visibility(handle, read(VisibilityChange, parameters).seconds)
    return {}


def _delete(queue: Queue, parameters: Parameters) -> dict[str, Json]:
    queue.delete(text_of(parameters, "ReceiptHandle"))
    return {}


def _send(queue: Queue, parameters: Parameters) -> dict[str, Json]:
    draft, settings = read(Draft, parameters), queue.settings
    if draft.size > settings.max_message_bytes:
        text = f"Message must be shorter than {settings.max_message_bytes} bytes."
        raise SqsError(INVALID_PARAMETER, text)
    if isinstance(settings, FifoQueueSettings):
        draft = _fifo_draft(settings, draft)
    message = queue.send(draft)
    result: dict[str, Json] = {
        "MessageId": message.message_id,
        "MD5OfMessageBody": message.body_md5,
    }
    if draft.attributes:
        result["MD5OfMessageAttributes"] = draft.attributes_md5
    if queue.is_fifo:
        result["SequenceNumber"] = message.sequence_number
    return result


def _fifo_draft(settings: FifoQueueSettings, draft: Draft) -> Draft:
    """Return the message with a deduplication id, of its body if need be."""
    if draft.group_id is None:
        raise SqsError(MISSING_PARAMETER, "The request must contain the parameter MessageGroupId.")
    if draft.delay_seconds:
        raise SqsError(INVALID_PARAMETER, "A FIFO queue takes no DelaySeconds of a message.")
    if draft.deduplication_id is None and settings.by_content == "false":
        text = "There is neither ContentBasedDeduplication nor a MessageDeduplicationId."
        raise SqsError(INVALID_PARAMETER, text)
    identifier = draft.deduplication_id or sha256(draft.body.encode()).hexdigest()
    return draft.model_copy(update={"deduplication_id": identifier, "delay_seconds": None})


# Each has a batch form too.
ON_MESSAGES: Mapping[str, OnMessage] = {
    "ChangeMessageVisibility": _change_visibility,
    "DeleteMessage": _delete,
    "SendMessage": _send,
}


def each_entry(queue: Queue, request: Request, act: OnMessage) -> Json:
    """Act on each entry of a batch; the errors of entries stand in `Failed`."""
    successful: list[Json] = []
    failed: list[Json] = []
    for entry_id, entry in _entries_of(request).items():
        try:
            if refusal := request.refused_entries.get(entry_id):
                raise SqsError(refusal, "A fault was injected here.")  # noqa: TRY301 as if from act
            successful.append({"Id": entry_id, **act(queue, entry)})
        except SqsError as error:
            is_senders, code = error.code.fault == "Sender", error.code.query
            message = error.message
            failed.append(
                {"Id": entry_id, "SenderFault": is_senders, "Code": code, "Message": message}
            )
    results = {"Successful": successful, "Failed": failed}
    return {name: entries for name, entries in results.items() if entries}


def _entries_of(request: Request) -> Mapping[str, Parameters]:
    """Return the entries of a batch by their ids; of their size only the bodies count here."""
    given = request.parameters.get("Entries") or []
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise SqsError(MALFORMED, "Entries is not a list of structures.")
    if not given:
        raise SqsError(EMPTY_BATCH_REQUEST, "There should be at least one entry in the request.")
    if len(given) > _MAX_ENTRIES:
        raise SqsError(TOO_MANY_ENTRIES, f"A batch has {_MAX_ENTRIES} entries at most.")
    if sum(byte_count(str(entry.get("MessageBody", ""))) for entry in given) > MAX_MESSAGE_BYTES:
        raise SqsError(BATCH_REQUEST_TOO_LONG, f"A batch has {MAX_MESSAGE_BYTES} bytes at most.")
    entries: dict[str, Parameters] = {}
    for entry in given:
        entry_id = str(entry.get("Id", ""))
        if not _ENTRY_ID.fullmatch(entry_id):
            text = "A batch entry id can only include alphanumeric characters, - and _. 1 to 80."
            raise SqsError(INVALID_BATCH_ENTRY_ID, text)
        if entry_id in entries:
            raise SqsError(BATCH_ENTRY_IDS_NOT_DISTINCT, f"Id {entry_id} repeated.")
        entries[entry_id] = entry
    return entries


def receive(queue: Queue, asked: Receive, *, hide: bool = True) -> Json:
    """Receive what is there; the result is empty if there is nothing."""
    received = queue.receive(asked.limit, asked.visibility_seconds, hide=hide)
    names = {*asked.system_names, *asked.system_names_before_2023}
    shown = [_shown(queue, message, names, asked.attribute_names) for message in received]
    return {"Messages": shown} if shown else {}


def _shown(
    queue: Queue, message: StoredMessage, system_names: Collection[str], names: Sequence[str]
) -> Mapping[str, Json]:
    shown: dict[str, Json] = {
        "MessageId": message.message_id,
        "ReceiptHandle": queue.receipt_handle(message),
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    if system_names:
        attributes = _system_attributes(message)
        wanted = attributes if "All" in system_names else system_names
        shown["Attributes"] = {n: v for n, v in attributes.items() if n in wanted and v}
    if names and (chosen := _message_attributes(message.draft, names)):
        shown["MD5OfMessageAttributes"] = message.draft.attributes_md5
        shown["MessageAttributes"] = chosen
    return shown


def _message_attributes(draft: Draft, names: Sequence[str]) -> Json:
    """Return those that are asked for, by name, by prefix, or all."""
    prefixes = tuple(name[:-1] for name in names if name.endswith(".*"))
    wants_all = not {"All", ".*"}.isdisjoint(names)
    return {
        name: attribute.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, attribute in draft.attributes.items()
        if wants_all or name in names or name.startswith(prefixes)
    }


def _system_attributes(message: StoredMessage) -> Mapping[str, str | None]:
    draft = message.draft
    trace_header = draft.system_attributes.get("AWSTraceHeader")
    return {
        "SenderId": "AIDADEVKIT",
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        "SequenceNumber": message.sequence_number,
        "MessageGroupId": draft.group_id,
        "MessageDeduplicationId": draft.deduplication_id,
        "AWSTraceHeader": trace_header.text if trace_header else None,
        "DeadLetterQueueSourceArn": message.dead_letter_source,
    }
