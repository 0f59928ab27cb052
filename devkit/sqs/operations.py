"""The operations of SQS; ReceiveMessage is in two halves, because it may have to wait.

Parameters and results have the shapes of the JSON protocol (Amazon SQS API Reference, page of each
action). None is the result of an operation that has none.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256

from devkit.sqs.account import Account
from devkit.sqs.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    BATCH_REQUEST_TOO_LONG,
    EMPTY_BATCH_REQUEST,
    INVALID_ATTRIBUTE_NAME,
    INVALID_BATCH_ENTRY_ID,
    INVALID_PARAMETER,
    MALFORMED,
    MISSING_PARAMETER,
    TOO_MANY_ENTRIES,
    UNKNOWN_OPERATION,
    SqsError,
)
from devkit.sqs.messages import StoredMessage
from devkit.sqs.queue import Queue
from devkit.sqs.queue_settings import ATTRIBUTE_NAMES, MAX_MESSAGE_BYTES, FifoQueueSettings
from devkit.sqs.requests import (
    Draft,
    Json,
    Parameters,
    QueueParameters,
    Receive,
    Request,
    VisibilityChange,
    read,
    text_of,
)

_MAX_ENTRIES = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def carry_out(account: Account, request: Request) -> Json:
    operation = request.operation
    if on_queues := _ON_QUEUES.get(operation):
        return on_queues(account, request, read(QueueParameters, request.parameters))
    queue = queue_of(account, request)
    if act := _ON_MESSAGES.get(operation):
        return act(queue, request.parameters) or None
    if act := _ON_MESSAGES.get(operation.removesuffix("Batch")):
        return _each_entry(queue, request, act)
    raise SqsError(UNKNOWN_OPERATION, f"There is no operation {operation} here.")


def queue_of(account: Account, request: Request) -> Queue:
    """Return the queue that QueueUrl names by its path, whatever host it names."""
    url = text_of(request.parameters, "QueueUrl")
    return account.queue(url.partition("?")[0].rpartition("/")[2])


def _create_queue(account: Account, request: Request, given: QueueParameters) -> Json:
    if not given.name:
        raise SqsError(MISSING_PARAMETER, "The request must contain the parameter QueueName.")
    return {"QueueUrl": request.url_of(account.create_queue(given.name, given.attributes).name)}


def _delete_queue(account: Account, request: Request, _: QueueParameters) -> None:
    account.delete_queue(queue_of(account, request))


def _get_queue_attributes(account: Account, request: Request, given: QueueParameters) -> Json:
    queue = queue_of(account, request)
    shown = queue.settings.shown() | {
        "ApproximateNumberOfMessages": str(queue.visible),
        "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        "QueueArn": queue.arn,
    }
    if unknown := set(given.attribute_names) - {"All", *shown, *ATTRIBUTE_NAMES}:
        raise SqsError(INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {min(unknown)}.")
    if "All" not in given.attribute_names:
        shown = {name: shown[name] for name in given.attribute_names if name in shown}
    return {"Attributes": shown} if shown else {}


def _get_queue_url(account: Account, request: Request, given: QueueParameters) -> Json:
    return {"QueueUrl": request.url_of(account.queue(given.name or "").name)}


def _list_queues(account: Account, request: Request, given: QueueParameters) -> Json:
    urls = [request.url_of(name) for name in account.names(given.prefix)]
    return {"QueueUrls": urls} if urls else {}


def _purge_queue(account: Account, request: Request, _: QueueParameters) -> None:
    queue_of(account, request).purge()


def _set_queue_attributes(account: Account, request: Request, given: QueueParameters) -> None:
    account.change_attributes(queue_of(account, request), given.attributes)


_ON_QUEUES: Mapping[str, Callable[[Account, Request, QueueParameters], Json]] = {
    "CreateQueue": _create_queue,
    "DeleteQueue": _delete_queue,
    "GetQueueAttributes": _get_queue_attributes,
    "GetQueueUrl": _get_queue_url,
    "ListQueues": _list_queues,
    "PurgeQueue": _purge_queue,
    "SetQueueAttributes": _set_queue_attributes,
}


def _change_visibility(queue: Queue, parameters: Parameters) -> Mapping[str, Json]:
    handle = text_of(parameters, "ReceiptHandle")
    queue.change_visibility(handle, read(VisibilityChange, parameters).seconds)
    return {}


def _delete(queue: Queue, parameters: Parameters) -> Mapping[str, Json]:
    queue.delete(text_of(parameters, "ReceiptHandle"))
    return {}


def _send(queue: Queue, parameters: Parameters) -> Mapping[str, Json]:
    draft = read(Draft, parameters)
    if draft.size > queue.settings.max_message_bytes:
        text = f"Message must be shorter than {queue.settings.max_message_bytes} bytes."
        raise SqsError(INVALID_PARAMETER, text)
    if isinstance(queue.settings, FifoQueueSettings):
        draft = _fifo_draft(queue.settings, draft)
    message = queue.send(draft)
    sent = message.draft
    result = {"MessageId": message.message_id, "MD5OfMessageBody": message.body_md5}
    if sent.attributes:
        result["MD5OfMessageAttributes"] = sent.attributes_md5
    if queue.is_fifo:
        result["SequenceNumber"] = _sequence_number(message)
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
_ON_MESSAGES: Mapping[str, Callable[[Queue, Parameters], Mapping[str, Json]]] = {
    "ChangeMessageVisibility": _change_visibility,
    "DeleteMessage": _delete,
    "SendMessage": _send,
}


def _each_entry(
    queue: Queue, request: Request, act: Callable[[Queue, Parameters], Mapping[str, Json]]
) -> Json:
    """Act on each entry of a batch; the errors of entries stand in `Failed`."""
    successful: list[Json] = []
    failed: list[Json] = []
    for entry_id, entry in _entries_of(request).items():
        try:
            if code := request.refused_entries.get(entry_id):
                raise SqsError(code, "A fault was injected here.")  # noqa: TRY301 as if from act
            successful.append({"Id": entry_id, **act(queue, entry)})
        except SqsError as error:
            failed.append(
                {
                    "Id": entry_id,
                    "SenderFault": error.code.fault == "Sender",
                    "Code": error.code.query,
                    "Message": error.message,
                }
            )
    results = {"Successful": successful, "Failed": failed}
    return {name: entries for name, entries in results.items() if entries}


def _entries_of(request: Request) -> Mapping[str, Parameters]:
    """Return the entries of a batch by their ids; of their size the bodies count here."""
    given = request.parameters.get("Entries") or []
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise SqsError(MALFORMED, "Entries is not a list of structures.")
    if not given:
        raise SqsError(EMPTY_BATCH_REQUEST, "There should be at least one entry in the request.")
    if len(given) > _MAX_ENTRIES:
        text = f"Maximum number of entries per request are 10. You have sent {len(given)}."
        raise SqsError(TOO_MANY_ENTRIES, text)
    if sum(len(str(entry.get("MessageBody", ""))) for entry in given) > MAX_MESSAGE_BYTES:
        text = f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes."
        raise SqsError(BATCH_REQUEST_TOO_LONG, text)
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
        attributes = _system_attributes(queue, message)
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


def _system_attributes(queue: Queue, message: StoredMessage) -> Mapping[str, str | None]:
    draft = message.draft
    trace_header = draft.system_attributes.get("AWSTraceHeader")
    return {
        "SenderId": "AIDADEVKIT",
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        "SequenceNumber": _sequence_number(message) if queue.is_fifo else None,
        "MessageGroupId": draft.group_id,
        "MessageDeduplicationId": draft.deduplication_id,
        "AWSTraceHeader": trace_header.text if trace_header else None,
        "DeadLetterQueueSourceArn": message.dead_letter_source,
    }


def _sequence_number(message: StoredMessage) -> str:
    return f"{message.key:020d}"  # 20 digits, growing
