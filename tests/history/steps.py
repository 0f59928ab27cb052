"""What a run is recorded as: the messages sent, each step that one took, in order, and the end."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from consumer.messages import ColumnValue, Message, Quarantined


class Step(IntEnum):
    """What happened to a message. Of two steps at the same time the lower one is the earlier.

    COMMITTED, QUARANTINED, DELETED and CONFIRMED have the database and the queue as witnesses;
    RECEIVED, ACKNOWLEDGED and DELETE_ASKED are seen at the edge of a replica. A history may hold
    what either saw, or both.
    """

    RECEIVED = 1
    """A replica was handed the message."""
    COMMITTED = 2
    """The message is a row for good."""
    QUARANTINED = 3
    """The message is in quarantine for good."""
    ACKNOWLEDGED = 4
    """A replica learned that the message is committed, by it or by another."""
    DELETE_ASKED = 5
    """A replica sends a delete of the message."""
    DELETED = 6
    """The queue has removed the message."""
    CONFIRMED = 7
    """The queue says that the message is deleted; with an old receipt handle it says so too."""
    RELEASED = 8
    """The queue shows the message to others, because its holder asked for it."""
    EXPIRED = 9
    """The visibility timeout ran out on a holder that lived and could have extended it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step of one message, `at` seconds; `replica` is empty where the witness cannot know."""

    step: Step
    message_id: str
    replica: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a replica, or all of them, say they did since they last said it."""

    replica: str = ""
    rows: int = 0
    quarantined: int = 0
    deleted: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A replica ended after SIGTERM, and the queue still hid `held` on its behalf."""

    replica: str
    held: tuple[str, ...] = ()
    at: float = 0.0


History = Iterable[Entry | Counted | Stopped]


def merged(*histories: History) -> Iterator[Entry | Counted | Stopped]:
    """One history of several that are each in order of time, as of two witnesses with one clock."""

    def order(each: Entry | Counted | Stopped) -> tuple[float, int]:
        return each.at, each.step if isinstance(each, Entry) else Step.EXPIRED + 1

    return heapq.merge(*histories, key=order)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the test has sent; `message_id` as the ledger has it."""

    message_id: str
    body: str = field(repr=False)
    sent_ms: int

    def message(self) -> Message:
        """The message as a replica sees it."""
        size = len(self.body.encode("utf-8", "surrogatepass"))
        return Message(self.message_id, "", self.body, self.sent_ms, size)


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A row of consumer.quarantine."""

    message_id: str
    reason: str
    field_name: str | None
    kid: str
    sealed_body: bytes = field(repr=False)

    @classmethod
    def of(cls, outcome: Quarantined) -> "QuarantineRow":
        """The row of an outcome."""
        message_id, reason = outcome.message.message_id, outcome.reason.value
        return cls(message_id, reason, outcome.field_name, outcome.kid, outcome.sealed_body)


@dataclass(frozen=True, slots=True)
class DatabaseContents:
    """What the database holds at the end; each part is read once.

    `rows` are the event's rows with the columns in the order in which Transform gives them.
    """

    rows: Iterable[tuple[ColumnValue, ...]]
    ledger: Iterable[str]
    quarantine: Iterable[QuarantineRow]
    deadlocks: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """How many messages are on the queue at the end, and on its dead-letter queue."""

    visible: int = 0
    in_flight: int = 0
    dead_lettered: int = 0
