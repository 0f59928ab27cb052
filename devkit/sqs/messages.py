"""A message as its queue stores it."""

from dataclasses import dataclass
from enum import Enum, auto

from devkit.sqs.requests import Draft


class State(Enum):
    DELAYED = auto()
    VISIBLE = auto()
    IN_FLIGHT = auto()
    GONE = auto()


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A message in its queue.

    `key` is its place there, `receive_count` also says which receipt handle is the newest.
    `is_listed`: it stands in a standard queue's backlog, where it may have become invisible.
    """

    message_id: str
    draft: Draft
    body_md5: str
    sent_ms: int
    key: int = 0
    state: State = State.VISIBLE
    is_listed: bool = False
    receive_count: int = 0
    received_ms: int = 0
    first_received_ms: int = 0
    dead_letter_source: str | None = None

    @property
    def body(self) -> str:
        return self.draft.body
