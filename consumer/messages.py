"""The data on the main path: a message, and its outcome, a row or a quarantined message."""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from consumer.errors import ConsumerError

# The partitions of consumer.ledger, one for each day of a cycle; migration 0001 creates them.
LEDGER_SLOTS = 32
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()

ColumnValue = str | int | date | None


@lru_cache(maxsize=LEDGER_SLOTS)  # SQS retains a message for fewer days
def _day_of(number: int) -> date:
    return date.fromordinal(_EPOCH + number)


class Message(NamedTuple):
    """One message as SQS delivered it.

    `message_id` is a UUID in its canonical text form, `sent_ms` is SentTimestamp (milliseconds
    since the epoch), `size` is the body's length in bytes. It is a tuple because a frozen dataclass
    takes three times as long to make.
    """

    message_id: str
    receipt_handle: str
    body: str
    sent_ms: int
    size: int

    def __repr__(self) -> str:
        """Without the body and the receipt handle: a repr ends up in a log."""
        return f"Message({self.message_id}, sent_ms={self.sent_ms}, size={self.size})"

    @property
    def sent_day(self) -> date:
        """The UTC day on which the message was sent."""
        return _day_of(self.sent_ms // _DAY_MS)

    @property
    def slot(self) -> int:
        """The ledger slot. It follows from the message alone, so a redelivery has the same one."""
        return self.sent_ms // _DAY_MS % LEDGER_SLOTS


class Reason(StrEnum):
    """Why a message is quarantined. It is also a label of a metric, so the list is closed."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    OTHER_EVENT = "other_event"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_STORABLE = "not_storable"
    BAD_ADDRESS = "bad_address"
    BAD_VERSION = "bad_version"
    INVALID_VALUE = "invalid_value"
    REJECTED_BY_DATABASE = "rejected_by_database"
    TRANSFORM_FAILED = "transform_failed"


class ValueRefusedError(ConsumerError):
    """A field's value cannot be masked or stored; its text is the reason and never the value."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Row(NamedTuple):
    """A valid message, masked. `values` are in the order of the table's columns."""

    message: Message
    values: tuple[ColumnValue, ...]

    def __repr__(self) -> str:
        """Without the values."""
        return f"Row({self.message!r})"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An invalid message: the reason, the field, and the body sealed under the key `kid`."""

    message: Message
    reason: Reason
    field_name: str | None
    kid: str
    sealed_body: bytes = field(repr=False)


Outcome = Row | Quarantined


@dataclass(frozen=True, slots=True)
class Written:
    """What one commit changed. `quarantined` counts by reason; duplicates changed nothing."""

    rows: int
    quarantined: dict[Reason, int]
    duplicates: int
