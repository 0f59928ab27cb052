"""All queues of the server, by name."""

from collections.abc import Callable, Mapping

from devkit.sqs.errors import INVALID_PARAMETER, QUEUE_DOES_NOT_EXIST, QUEUE_NAME_EXISTS, SqsError
from devkit.sqs.queue import Queue
from devkit.sqs.queue_settings import QueueSettings, settings_of


class Account:
    """The queues of one account; the arguments are those of Queue."""

    def __init__(
        self, clock_ms: Callable[[], int], on_change: Callable[[], None], max_in_flight: int
    ) -> None:
        self._clock_ms = clock_ms
        self._on_change = on_change
        self._max_in_flight = max_in_flight
        self._queues: dict[str, Queue] = {}

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
            max_in_flight=self._max_in_flight,
        )
        return queue

    def change_attributes(self, queue: Queue, attributes: Mapping[str, str]) -> None:
        """Change some of a queue's attributes; an empty text removes one."""
        merged = {**queue.settings.shown(), **attributes}
        queue.change_settings(self._settings_of(queue.name, merged))

    def queue(self, name: str) -> Queue:
        if name not in self._queues:
            raise SqsError(QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.")
        return self._queues[name]

    def delete_queue(self, queue: Queue) -> None:
        """Delete a queue and its messages; unlike AWS's, its name is free again at once."""
        del self._queues[queue.name]

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self._queues if name.startswith(prefix))

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
