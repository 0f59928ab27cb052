"""What the pipeline tells about itself.

Each event is frozen and holds counts, codes and durations, never a value of a message. Listeners
(logs, metrics, health) are plain functions; they are called on the event loop and must not block.
"""

from collections.abc import Callable
from dataclasses import dataclass

from consumer.messages import Reason


@dataclass(frozen=True, slots=True)
class Received:
    """A receive came back; `redelivered` of its `count` messages were in flight here already."""

    count: int
    redelivered: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Committed:
    """A batch is in the database. `sent_ms` has SentTimestamp of each message in the batch."""

    rows: int
    quarantined: dict[Reason, int]
    duplicates: int
    seconds: float
    sent_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Deleted:
    """The queue confirmed `count` deletes."""

    count: int


@dataclass(frozen=True, slots=True)
class Extended:
    """The visibility of `count` messages was extended."""

    count: int


@dataclass(frozen=True, slots=True)
class ReceiptHandlesExpired:
    """The queue no longer knows our receipt handles of `count` messages: they will come again."""

    count: int


@dataclass(frozen=True, slots=True)
class Released:
    """`count` messages were made visible again for others, at the end."""

    count: int


@dataclass(frozen=True, slots=True)
class PollersChanged:
    """So many pollers are running now."""

    count: int


@dataclass(frozen=True, slots=True)
class QueueFailed:
    """A call to the queue failed and will be made again in `pause_seconds`.

    `refused`: it will go on failing until someone acts.
    """

    operation: str
    code: str
    refused: bool
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class QueueRecovered:
    """An operation that had failed works again."""

    operation: str


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """A batch of `count` was not written and will be written again in `pause_seconds`.

    `refused`: it will go on failing until someone acts.
    """

    count: int
    sqlstate: str
    refused: bool
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Bisected:
    """In a batch of `count` a row's data was refused, or it took too long: it is halved."""

    count: int
    sqlstate: str


@dataclass(frozen=True, slots=True)
class KeyRingReadFailed:
    """The key ring could not be fetched at the start; it is tried again in `pause_seconds`."""

    operation: str
    code: str
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class KeyRingLoaded:
    """New tokens are made with the key `primary`; `reloaded`: not the first ring of this run."""

    primary: str
    keys: int
    reloaded: bool


@dataclass(frozen=True, slots=True)
class KeyRingReloadRejected:
    """A key ring was not taken over, and the one before it stays.

    `refused`: it is wrong; otherwise its source or the database did not answer. `why` is an
    error's text, which holds nothing of any key.
    """

    why: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Stopping:
    """No more receives are begun; `in_flight` messages are still held."""

    in_flight: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing is held any more; `released` of the messages go to other consumers."""

    released: int


TelemetryEvent = (
    Received
    | Committed
    | Deleted
    | Extended
    | ReceiptHandlesExpired
    | Released
    | PollersChanged
    | QueueFailed
    | QueueRecovered
    | WriteFailed
    | Bisected
    | KeyRingReadFailed
    | KeyRingLoaded
    | KeyRingReloadRejected
    | Stopping
    | Stopped
)

Listener = Callable[[TelemetryEvent], None]


def to_all(*listeners: Listener) -> Listener:
    """One listener that passes each event on to all of `listeners`, in order."""

    def emit(event: TelemetryEvent) -> None:
        for listener in listeners:
            listener(event)

    return emit
