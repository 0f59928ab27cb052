"""A message as the queue keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

AttributeValue = Mapping[str, str]
"""`DataType` with `StringValue` or, in base64, `BinaryValue`."""


class State(Enum):
    """Where in its life a message is."""

    DELAYED = auto()
    VISIBLE = auto()
    IN_FLIGHT = auto()
    GONE = auto()


class Draft(NamedTuple):
    """What a sender says of a message; `delay_seconds` None means the queue's own."""

    body: str
    body_md5: str
    attributes: Mapping[str, AttributeValue] = MappingProxyType({})
    attributes_md5: str | None = None
    trace_header: str | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    delay_seconds: int | None = None


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A message and what became of it so far.

    `key` is its place in its queue, `receive_count` also says which receipt handle is the newest.
    """

    message_id: str
    draft: Draft
    sent_ms: int
    key: int = 0
    state: State = State.VISIBLE
    receive_count: int = 0
    received_ms: int = 0
    first_received_ms: int | None = None
    dead_letter_source: str | None = None

    @property
    def sequence_number(self) -> str:
        """SequenceNumber of a FIFO queue: 20 digits, growing."""
        return f"{self.key:020d}"


class Sent(NamedTuple):
    """What the sender is told; `sequence_number` is None in a standard queue."""

    message_id: str
    sequence_number: str | None


class Received(NamedTuple):
    """A message on its way to a receiver."""

    message: StoredMessage
    receipt_handle: str
