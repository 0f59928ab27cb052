"""What the service reports about itself.

An event is frozen and holds counts, codes and durations, never a value of a message. It carries its
log level and its message. Its fields become fields of the log line, except those that its repr
leaves out. Listeners (logs, metrics, health, totals) are plain functions. They are called on the
event loop and must not block.

To add an event, add a class here and emit it. If it counts, add a line to metrics.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from logging import DEBUG, ERROR, INFO, WARNING
from typing import ClassVar

from consumer.messages import Reason


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """What every event below is.

    Of `throttled` events that have the same message and texts, the log shows one per interval.
    """

    throttled: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """What happened, in the log's words; each event has its own."""
        raise NotImplementedError

    @property
    def level(self) -> int:
        """The level of the log line, as the standard library numbers it."""
        return INFO


Listener = Callable[[TelemetryEvent], None]


def to_all(*listeners: Listener) -> Listener:
    """One listener that passes each event on to all of `listeners`, in order."""

    def emit(event: TelemetryEvent) -> None:
        for listener in listeners:
            listener(event)

    return emit


@dataclass(frozen=True, slots=True)
class ConfigurationWarning(TelemetryEvent):
    """The service runs, but an attribute of the queue or the key ring's file should be changed."""

    message = "configuration warning"
    level = WARNING

    advice: str


@dataclass(frozen=True, slots=True)
class Listening(TelemetryEvent):
    """The HTTP port is open."""

    message = "listening"

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Consuming(TelemetryEvent):
    """Key ring, database and queue were reached; the first receive follows."""

    message = "consuming"

    visibility_seconds: int


@dataclass(frozen=True, slots=True)
class Stopping(TelemetryEvent):
    """No more receives are begun; `in_flight` messages are still held."""

    message = "stopping"

    in_flight: int


@dataclass(frozen=True, slots=True)
class Stopped(TelemetryEvent):
    """Nothing is held any more; `released` messages went back to the queue."""

    message = "stopped"

    released: int


@dataclass(frozen=True, slots=True)
class PollersChanged(TelemetryEvent):
    """`count` pollers are running."""

    message = "pollers changed"
    level = DEBUG

    count: int


@dataclass(frozen=True, slots=True)
class Received(TelemetryEvent):
    """A receive returned; `redelivered` of its `count` messages were in flight here already."""

    message = "received"
    level = DEBUG

    count: int
    redelivered: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MessageDamaged(TelemetryEvent):
    """A received message cannot be taken. It stays in the queue and is redelivered."""

    message = "damaged message left in the queue"
    level = WARNING
    throttled = True

    code: str


@dataclass(frozen=True, slots=True)
class Committed(TelemetryEvent):
    """A batch is in the database. `sent_ms` has SentTimestamp of each message in the batch."""

    message = "committed"
    level = DEBUG

    rows: int
    quarantined: dict[Reason, int]
    duplicates: int
    seconds: float
    sent_ms: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MessagesQuarantined(TelemetryEvent):
    """`count` messages of a committed batch went to quarantine."""

    message = "messages quarantined"
    level = WARNING
    throttled = True

    reason: Reason
    count: int


@dataclass(frozen=True, slots=True)
class Deleted(TelemetryEvent):
    """The queue confirmed `count` deletes."""

    message = "deleted"
    level = DEBUG

    count: int


@dataclass(frozen=True, slots=True)
class Extended(TelemetryEvent):
    """The visibility timeout of `count` messages was extended."""

    message = "visibility extended"
    level = DEBUG

    count: int


@dataclass(frozen=True, slots=True)
class ReceiptHandlesExpired(TelemetryEvent):
    """The receipt handles of `count` messages expired: the messages are redelivered."""

    message = "receipt handles expired"
    level = WARNING
    throttled = True

    count: int


@dataclass(frozen=True, slots=True)
class Released(TelemetryEvent):
    """The visibility of `count` messages was set to 0 at the stop."""

    message = "released"

    count: int


@dataclass(frozen=True, slots=True)
class QueueFailed(TelemetryEvent):
    """A call to the queue failed; the next one follows after `pause_seconds`.

    `refused`: it will fail as well until someone acts.
    """

    message = "queue call failed"
    throttled = True

    operation: str
    code: str
    refused: bool
    pause_seconds: float

    @property
    def level(self) -> int:
        """An error if someone has to act."""
        return ERROR if self.refused else WARNING


@dataclass(frozen=True, slots=True)
class QueueRecovered(TelemetryEvent):
    """An operation succeeded after a failure."""

    message = "queue recovered"

    operation: str


@dataclass(frozen=True, slots=True)
class DatabaseUnavailable(TelemetryEvent):
    """The database could not be used at the start; the next try follows after `pause_seconds`.

    `advice` says what to do, where that is known.
    """

    message = "database unavailable"
    level = WARNING
    throttled = True

    sqlstate: str
    pause_seconds: float
    advice: str = ""


@dataclass(frozen=True, slots=True)
class WriteFailed(TelemetryEvent):
    """A batch of `count` messages was not written; the next try follows after `pause_seconds`.

    `refused`: it will fail as well until someone acts. `advice` says what to do, where that is
    known.
    """

    message = "write failed"
    throttled = True

    count: int
    sqlstate: str
    refused: bool
    pause_seconds: float
    advice: str = ""

    @property
    def level(self) -> int:
        """An error if someone has to act."""
        return ERROR if self.refused else WARNING


@dataclass(frozen=True, slots=True)
class DatabaseRecovered(TelemetryEvent):
    """A batch was committed after a failure."""

    message = "database recovered"


@dataclass(frozen=True, slots=True)
class Bisected(TelemetryEvent):
    """A batch of `count` is halved: PostgreSQL rejected a row, or the statement took too long."""

    message = "batch bisected"
    level = WARNING
    throttled = True

    count: int
    sqlstate: str


@dataclass(frozen=True, slots=True)
class KeyRingReadFailed(TelemetryEvent):
    """The key ring was not read at the start; the next try follows after `pause_seconds`."""

    message = "key ring read failed"
    level = WARNING
    throttled = True

    operation: str
    code: str
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class KeyRingLoaded(TelemetryEvent):
    """New tokens are made with the key `primary`; `reloaded`: a SIGHUP asked for it."""

    primary: str
    keys: int
    reloaded: bool

    @property
    def message(self) -> str:
        """Whether it is the first ring of this run or a later one."""
        return "key ring reloaded" if self.reloaded else "key ring loaded"


@dataclass(frozen=True, slots=True)
class KeyRingReloadRejected(TelemetryEvent):
    """After a SIGHUP the current key ring stays in use.

    `refused`: the new one is wrong; otherwise its source or the database did not answer. `why` is
    an error's text, which holds nothing of any key.
    """

    message = "key ring reload rejected, keeping the current one"
    level = ERROR

    why: str
    refused: bool


@dataclass(frozen=True, slots=True)
class LedgerPruned(TelemetryEvent):
    """`emptied_slots` slots of the ledger that no message can have any more were emptied."""

    message = "ledger pruned"

    emptied_slots: int


@dataclass(frozen=True, slots=True)
class LedgerPruneFailed(TelemetryEvent):
    """The ledger was not pruned; the next try follows after postgres.prune_interval_seconds."""

    message = "ledger prune failed"
    level = WARNING

    sqlstate: str
