"""All queues of the server, and the operations of SQS, which it carries out.

Parameters and results have the shapes of the JSON protocol (Amazon SQS API Reference, page of each
action). None is the result of an operation that has none.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from devkit.sqs.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_PARAMETER,
    MISSING_PARAMETER,
    QUEUE_DOES_NOT_EXIST,
    QUEUE_NAME_EXISTS,
    UNKNOWN_OPERATION,
    SqsError,
)
from devkit.sqs.message_operations import ON_MESSAGES, each_entry
from devkit.sqs.queue import Queue
from devkit.sqs.queue_settings import ATTRIBUTE_NAMES, QueueSettings, settings_of
from devkit.sqs.requests import Json, QueueParameters, Request, queue_url, read, text_of

_OnQueues = Callable[["Account", Request, QueueParameters], Json]


class Account:
    """The queues of one account, by name; `clock_ms` and `on_change` are those of Queue."""

    def __init__(self, clock_ms: Callable[[], int], on_change: Callable[[], None]) -> None:
        self._clock_ms = clock_ms
        self._on_change = on_change
        self._queues: dict[str, Queue] = {}

    def carry_out(self, request: Request) -> Json:
        """Carry out any operation but ReceiveMessage, which may have to wait."""
        operation = request.operation
        if on_queues := self._ON_QUEUES.get(operation):
            return on_queues(self, request, read(QueueParameters, request.parameters))
        if on_message := ON_MESSAGES.get(operation):
            return on_message(self.queue_of(request), request.parameters) or None
        if on_message := ON_MESSAGES.get(operation.removesuffix("Batch")):
            return each_entry(self.queue_of(request), request, on_message)
        raise SqsError(UNKNOWN_OPERATION, f"There is no operation {operation} here.")

    def queue(self, name: str) -> Queue:
        if name not in self._queues:
            raise SqsError(QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.")
        return self._queues[name]

    def queue_of(self, request: Request) -> Queue:
        """Return the queue that QueueUrl names by its path, whatever host it names."""
        url = text_of(request.parameters, "QueueUrl")
        return self.queue(url.partition("?")[0].rpartition("/")[2])

    def create_queue(self, name: str, attributes: Mapping[str, str]) -> Queue:
        """Create a queue, or return the one of this name if its attributes are the same."""
        if queue := self._queues.get(name):
            if self._settings_of(name, {**queue.settings.shown(), **attributes}) != queue.settings:
                text = "A queue already exists with the same name and other attributes."
                raise SqsError(QUEUE_NAME_EXISTS, text)
            return queue
        self._queues[name] = queue = Queue(
            name,
            self._settings_of(name, attributes),
            clock_ms=self._clock_ms,
            find_queue=self._find,
            on_change=self._on_change,
        )
        return queue

    def _create_queue(self, request: Request, given: QueueParameters) -> Json:
        if not given.name:
            raise SqsError(MISSING_PARAMETER, "The request must contain the parameter QueueName.")
        self.create_queue(given.name, given.attributes)
        return {"QueueUrl": queue_url(request.base_url, given.name)}

    def _delete_queue(self, request: Request, _: QueueParameters) -> None:
        """Delete a queue; unlike AWS's, its name is free again at once."""
        del self._queues[self.queue_of(request).name]

    def _get_queue_attributes(self, request: Request, given: QueueParameters) -> Json:
        queue = self.queue_of(request)
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

    def _get_queue_url(self, request: Request, given: QueueParameters) -> Json:
        return {"QueueUrl": queue_url(request.base_url, self.queue(given.name or "").name)}

    def _list_queues(self, request: Request, given: QueueParameters) -> Json:
        names = sorted(name for name in self._queues if name.startswith(given.prefix))
        return {"QueueUrls": [queue_url(request.base_url, name) for name in names]} if names else {}

    def _purge_queue(self, request: Request, _: QueueParameters) -> None:
        self.queue_of(request).purge()

    def _set_queue_attributes(self, request: Request, given: QueueParameters) -> None:
        """Change some of a queue's attributes; an empty text removes one."""
        queue = self.queue_of(request)
        merged = {**queue.settings.shown(), **given.attributes}
        queue.change_settings(self._settings_of(queue.name, merged))

    def _find(self, arn: str) -> Queue | None:
        """Return the queue of the ARN's name, in whatever region and account."""
        return self._queues.get(arn.rpartition(":")[2])

    def _settings_of(self, name: str, attributes: Mapping[str, str]) -> QueueSettings:
        settings = settings_of(name, attributes)
        if settings.redrive:
            target = self._find(settings.redrive.dead_letter_arn)
            if not target or target.name == name or type(target.settings) is not type(settings):
                text = "The dead-letter queue is not there, or not another one of the same type."
                raise SqsError(INVALID_PARAMETER, text)
        return settings

    _ON_QUEUES: ClassVar[Mapping[str, _OnQueues]] = {
        "CreateQueue": _create_queue,
        "DeleteQueue": _delete_queue,
        "GetQueueAttributes": _get_queue_attributes,
        "GetQueueUrl": _get_queue_url,
        "ListQueues": _list_queues,
        "PurgeQueue": _purge_queue,
        "SetQueueAttributes": _set_queue_attributes,
    }
