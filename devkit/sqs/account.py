"""All queues of the server, by name, and what concerns more than one of them."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devkit.sqs.attributes import QueueSettings, changed, difference, settings_of
from devkit.sqs.errors import (
    INVALID_PARAMETER,
    QUEUE_DELETED_RECENTLY,
    QUEUE_DOES_NOT_EXIST,
    QUEUE_NAME_EXISTS,
    RESOURCE_NOT_FOUND,
    SqsError,
    invalid,
)
from devkit.sqs.queue import ClockMs, Limits, Queue

ACCOUNT_ID = "000000000000"


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A finished move out of a dead-letter queue; `destination_arn` None is "where they were"."""

    handle: str
    source_arn: str
    destination_arn: str | None
    moved: int
    started_ms: int


class Account:
    """The queues of one account in one region; `clock` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], limits: Limits, region: str) -> None:
        self._clock_ms: ClockMs = lambda: int(clock() * 1000)
        self._limits = limits
        self._region = region
        self._queues: dict[str, Queue] = {}
        self._deleted_ms: dict[str, int] = {}
        self._move_tasks: dict[str, list[MoveTask]] = {}

    def create_queue(self, name: str, attributes: Mapping[str, str]) -> Queue:
        """Create a queue, or return the one of this name if its attributes are the same.

        Raises:
            SqsError: the attributes differ or are not allowed; or a queue of this name was deleted
                within the last minute.
        """
        if (queue := self._queues.get(name)) is not None:
            if differs := difference(queue.settings, attributes):
                raise SqsError(
                    QUEUE_NAME_EXISTS,
                    "A queue already exists with the same name and a different value for "
                    f"attribute {differs}",
                )
            return queue
        arn = f"arn:aws:sqs:{self._region}:{ACCOUNT_ID}:{name}"
        settings = settings_of(name, attributes)
        self._check_redrive(arn, settings)
        self._check_name_is_free(name)
        queue = Queue(
            arn,
            settings,
            clock_ms=self._clock_ms,
            find_queue=self.find_by_arn,
            limits=self._limits,
        )
        self._queues[name] = queue
        return queue

    def delete_queue(self, queue: Queue) -> None:
        """Delete a queue and its messages; its name is free again after a minute."""
        del self._queues[queue.name]
        self._move_tasks.pop(queue.name, None)
        self._deleted_ms[queue.name] = self._clock_ms()

    def change_settings(self, queue: Queue, attributes: Mapping[str, str]) -> None:
        """Change some of a queue's attributes.

        Raises:
            SqsError: one is unknown or not allowed.
        """
        settings = changed(queue.settings, attributes)
        self._check_redrive(queue.arn, settings)
        queue.change_settings(settings)

    def queue(self, name: str) -> Queue:
        """Return a queue.

        Raises:
            SqsError: there is none of this name.
        """
        try:
            return self._queues[name]
        except KeyError:
            raise SqsError(QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.") from None

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the queues, sorted."""
        return sorted(name for name in self._queues if name.startswith(prefix))

    def find_by_arn(self, arn: str) -> Queue | None:
        """Return the queue of the ARN's name, in whatever region and account."""
        return self._queues.get(arn.rpartition(":")[2])

    def dead_letter_sources(self, queue: Queue) -> list[Queue]:
        """Return the queues whose dead-letter queue this is, by name."""
        return [
            source
            for source in (self._queues[name] for name in self.names())
            if source.settings.redrive
            and self.find_by_arn(source.settings.redrive.dead_letter_arn) is queue
        ]

    def move_messages(self, source_arn: str, destination_arn: str | None) -> MoveTask:
        """Move what is visible in a dead-letter queue, at once; every message is a new one then.

        Without a destination a message goes back to where it came from.

        Raises:
            SqsError: a queue does not exist, or the source is nobody's dead-letter queue.
        """
        source = self._existing("SourceArn", source_arn)
        destination = destination_arn and self._existing("DestinationArn", destination_arn)
        if not self.dead_letter_sources(source):
            raise SqsError(
                INVALID_PARAMETER, "Source queue must be configured as a Dead Letter Queue."
            )
        moved, started_ms = 0, self._clock_ms()
        for message in source.give_up(source.visible):
            target = destination or self.find_by_arn(message.dead_letter_source or "") or source
            target.send(message.draft._replace(delay_seconds=0))
            moved += 1
        task = MoveTask(
            secrets.token_urlsafe(), source.arn, destination_arn or None, moved, started_ms
        )
        self._move_tasks.setdefault(source.name, []).insert(0, task)
        return task

    def move_tasks(self, source_arn: str) -> list[MoveTask]:
        """Return the moves out of a dead-letter queue, newest first.

        Raises:
            SqsError: the queue does not exist.
        """
        return self._move_tasks.get(self._existing("SourceArn", source_arn).name, [])

    def _existing(self, parameter: str, arn: str) -> Queue:
        queue = self.find_by_arn(arn)
        if queue is None:
            raise SqsError(
                RESOURCE_NOT_FOUND,
                f"The resource that you specified for the {parameter} parameter doesn't exist.",
            )
        return queue

    def _check_redrive(self, arn: str, settings: QueueSettings) -> None:
        if settings.redrive is None:
            return
        target = self.find_by_arn(settings.redrive.dead_letter_arn)
        fits = target and target.arn != arn and target.settings.is_fifo == settings.is_fifo
        if not fits:
            reason = "Dead letter target does not exist, or is not another queue of the same type."
            raise invalid("RedrivePolicy", settings.given["RedrivePolicy"], reason)

    def _check_name_is_free(self, name: str) -> None:
        deleted_ms = self._deleted_ms.get(name)
        if deleted_ms is None:
            return
        if self._clock_ms() - deleted_ms < self._limits.name_reuse_seconds * 1000:
            raise SqsError(
                QUEUE_DELETED_RECENTLY,
                "You must wait 60 seconds after deleting a queue before you can create another "
                "with the same name.",
            )
        del self._deleted_ms[name]
