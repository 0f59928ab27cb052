"""The order in which visible messages are handed out: one for standard queues, one for FIFO.

The rules of a message group: Amazon SQS Developer Guide, "FIFO queue delivery logic".
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from devkit.sqs.messages import State, StoredMessage

_Entry = tuple[int, StoredMessage]


class Line(Protocol):
    """Visible messages, in the order in which they may be received.

    The queue sets a message's state first, then tells the line. A message that is VISIBLE no more
    is skipped when its turn comes.
    """

    def add(self, message: StoredMessage) -> None:
        """Line up a message that has become visible."""

    def candidates(self) -> Generator[StoredMessage]:
        """Take off the line, one by one, what one receive may have; to be closed by the caller."""

    def hidden(self, message: StoredMessage) -> None:
        """Note that a message taken off the line is in flight now."""

    def settled(self, message: StoredMessage) -> None:
        """Note that a message is in flight no more."""


class StandardLine:
    """First come, first served."""

    def __init__(self) -> None:
        self._line: deque[StoredMessage] = deque()

    def add(self, message: StoredMessage) -> None:
        """Line up at the end."""
        self._line.append(message)

    def candidates(self) -> Generator[StoredMessage]:
        """Take from the front."""
        line = self._line
        while line:
            message = line.popleft()
            if message.state is State.VISIBLE:
                yield message

    def hidden(self, message: StoredMessage) -> None:
        """Do nothing: messages do not wait for each other."""

    def settled(self, message: StoredMessage) -> None:
        """Do nothing: messages do not wait for each other."""


@dataclass(slots=True)
class _Group:
    visible: list[_Entry] = field(default_factory=list)
    in_flight: list[_Entry] = field(default_factory=list)
    has_turn: bool = False


class FifoLine:
    """Within a group by time of sending; the groups in turn.

    A message waits for every earlier one of its group that is in flight; one receive may have
    several of a group in a row.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._turns: deque[str] = deque()

    def add(self, message: StoredMessage) -> None:
        """Line up in the group, where the message stood when it was sent."""
        group_id = _group_id(message)
        group = self._groups.setdefault(group_id, _Group())
        heappush(group.visible, (message.key, message))
        self._arrange(group_id)

    def candidates(self) -> Generator[StoredMessage]:
        """Take each group's messages up to its first one in flight, group by group."""
        for _ in range(len(self._turns)):
            group_id = self._turns.popleft()
            group = self._groups[group_id]
            group.has_turn = False
            blocked_from = _first_key(group.in_flight, State.IN_FLIGHT)
            try:
                while _comes_before(group, blocked_from):
                    yield heappop(group.visible)[1]
            finally:
                self._arrange(group_id)

    def hidden(self, message: StoredMessage) -> None:
        """Hold back the later messages of the group."""
        heappush(self._groups[_group_id(message)].in_flight, (message.key, message))

    def settled(self, message: StoredMessage) -> None:
        """Let the later messages of the group come."""
        self._arrange(_group_id(message))

    def _arrange(self, group_id: str) -> None:
        """Give the group a turn if it has something to offer; forget it if it has nothing."""
        group = self._groups.get(group_id)
        if group is None or group.has_turn:
            return
        blocked_from = _first_key(group.in_flight, State.IN_FLIGHT)
        if _comes_before(group, blocked_from):
            group.has_turn = True
            self._turns.append(group_id)
        elif not group.visible and not group.in_flight:
            del self._groups[group_id]


def _group_id(message: StoredMessage) -> str:
    return message.draft.group_id or ""


def _first_key(entries: list[_Entry], state: State) -> int | None:
    """Return the earliest key whose message is in `state`; drop what comes before it."""
    while entries:
        key, message = entries[0]
        if message.state is state:
            return key
        heappop(entries)
    return None


def _comes_before(group: _Group, blocked_from: int | None) -> bool:
    first_visible = _first_key(group.visible, State.VISIBLE)
    return first_visible is not None and (blocked_from is None or first_visible < blocked_from)
