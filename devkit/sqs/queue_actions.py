"""The operations on queues, in alphabetical order.

Parameters and answers have the shapes of the JSON protocol (Amazon SQS API Reference, page of
each action).
"""

import re

from devkit.sqs.calls import Call
from devkit.sqs.errors import INVALID_ATTRIBUTE_NAME, SqsError, invalid
from devkit.sqs.parameters import (
    Json,
    integer_of,
    optional_text_of,
    text_map_of,
    text_of,
    texts_of,
)
from devkit.sqs.queue import Queue

_QUEUE_NAME = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+(?:\.fifo)?")
_MAX_LISTED = 1000
_MAX_MOVE_TASKS = 10
_MAX_MOVES_PER_SECOND = 500


def create_queue(call: Call) -> Json:
    """CreateQueue."""
    name = text_of(call.parameters, "QueueName")
    if not _QUEUE_NAME.fullmatch(name):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 long"
        raise invalid("QueueName", name, reason)
    queue = call.account.create_queue(name, text_map_of(call.parameters, "Attributes"))
    queue.tags.update(text_map_of(call.parameters, "tags") or text_map_of(call.parameters, "Tags"))
    return {"QueueUrl": call.url_of(queue)}


def delete_queue(call: Call) -> None:
    """DeleteQueue."""
    call.account.delete_queue(call.queue())


def get_queue_attributes(call: Call) -> Json:
    """GetQueueAttributes."""
    attributes = _shown(call.queue())
    wanted = texts_of(call.parameters, "AttributeNames")
    if "All" in wanted:
        return {"Attributes": attributes}
    for name in wanted:
        if name not in _ATTRIBUTE_NAMES:
            raise SqsError(INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {name}.")
    return {"Attributes": {name: attributes[name] for name in wanted if name in attributes}}


def get_queue_url(call: Call) -> Json:
    """GetQueueUrl."""
    return {"QueueUrl": call.url_of(call.account.queue(text_of(call.parameters, "QueueName")))}


def list_dead_letter_source_queues(call: Call) -> Json:
    """ListDeadLetterSourceQueues."""
    sources = call.account.dead_letter_sources(call.queue())
    return _page(call, "queueUrls", [source.name for source in sources])


def list_message_move_tasks(call: Call) -> Json:
    """ListMessageMoveTasks."""
    tasks = call.account.move_tasks(text_of(call.parameters, "SourceArn"))
    count = integer_of(call.parameters, "MaxResults", 1, _MAX_MOVE_TASKS) or 1
    results: list[Json] = []
    for task in tasks[:count]:
        result: dict[str, Json] = {
            "Status": "COMPLETED",
            "SourceArn": task.source_arn,
            "ApproximateNumberOfMessagesMoved": task.moved,
            "ApproximateNumberOfMessagesToMove": task.moved,
            "StartedTimestamp": task.started_ms,
        }
        if task.destination_arn is not None:
            result["DestinationArn"] = task.destination_arn
        results.append(result)
    return {"Results": results}


def list_queue_tags(call: Call) -> Json:
    """ListQueueTags."""
    return {"Tags": dict(call.queue().tags)}


def list_queues(call: Call) -> Json:
    """ListQueues."""
    prefix = optional_text_of(call.parameters, "QueueNamePrefix") or ""
    return _page(call, "QueueUrls", call.account.names(prefix))


def purge_queue(call: Call) -> None:
    """PurgeQueue."""
    call.queue().purge()


def set_queue_attributes(call: Call) -> None:
    """SetQueueAttributes."""
    call.account.change_settings(call.queue(), text_map_of(call.parameters, "Attributes"))


def start_message_move_task(call: Call) -> Json:
    """StartMessageMoveTask: all is moved at once, whatever MaxNumberOfMessagesPerSecond says."""
    integer_of(call.parameters, "MaxNumberOfMessagesPerSecond", 1, _MAX_MOVES_PER_SECOND)
    task = call.account.move_messages(
        text_of(call.parameters, "SourceArn"), optional_text_of(call.parameters, "DestinationArn")
    )
    return {"TaskHandle": task.handle}


def tag_queue(call: Call) -> None:
    """TagQueue."""
    call.queue().tags.update(text_map_of(call.parameters, "Tags"))


def untag_queue(call: Call) -> None:
    """UntagQueue."""
    tags = call.queue().tags
    for name in texts_of(call.parameters, "TagKeys"):
        tags.pop(name, None)


def _page(call: Call, field: str, names: list[str]) -> Json:
    """Return a page of URLs; the token is the last name of the page before."""
    after = optional_text_of(call.parameters, "NextToken") or ""
    size = integer_of(call.parameters, "MaxResults", 1, _MAX_LISTED)
    names = [name for name in names if name > after]
    page = names[: size or _MAX_LISTED]
    answer: dict[str, Json] = {
        field: [call.url_of(call.account.queue(name)) for name in page],
    }
    if size is not None and len(page) < len(names):
        answer["NextToken"] = page[-1]
    return answer


def _shown(queue: Queue) -> dict[str, str]:
    return {
        **queue.settings.given,
        **{name: str(count) for name, count in queue.counts().items()},
        "QueueArn": queue.arn,
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
    }


_ATTRIBUTE_NAMES = frozenset(
    {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "ContentBasedDeduplication",
        "CreatedTimestamp",
        "DeduplicationScope",
        "DelaySeconds",
        "FifoQueue",
        "FifoThroughputLimit",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "LastModifiedTimestamp",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "Policy",
        "QueueArn",
        "ReceiveMessageWaitTimeSeconds",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "SqsManagedSseEnabled",
        "VisibilityTimeout",
    }
)
