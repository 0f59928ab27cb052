"""Receives that wait for a message."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from devkit.sqs.errors import SqsError
from devkit.sqs.messages import Received
from devkit.sqs.queue import Queue
from devkit.sqs.receiving import Receive

Done = Callable[[Sequence[Received] | SqsError], None]


@dataclass(eq=False, slots=True)
class Poll:
    """One waiting receive; `done` is called once, unless the client goes away before."""

    receive: Receive
    done: Done
    is_there: Callable[[], bool]
    timeout: asyncio.TimerHandle = field(init=False)


class LongPolls:
    """All waiting receives, first come, first served for each queue.

    `wake` is to be called after every operation: it costs nothing while nobody waits. What becomes
    visible by the passing of time wakes by a timer. Messages are handed out in a turn of the loop
    of their own: whoever closed a connection before a message was sent is known to be gone then,
    and no answer's consequences run in the middle of handing out.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Queue, dict[Poll, None]] = {}
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None

    def add(self, receive: Receive, done: Done, is_there: Callable[[], bool]) -> Poll:
        """Wait for messages for as long as the receive says.

        `is_there` tells whether the client can still be answered: it is asked before a message is
        taken, for a connection may be closing whose loss was not told yet.
        """
        poll = Poll(receive, done, is_there)
        loop = asyncio.get_running_loop()
        poll.timeout = loop.call_later(receive.wait_seconds, self._finish, poll, ())
        self._waiting.setdefault(receive.queue, {})[poll] = None
        self._set_timer()
        return poll

    def remove(self, poll: Poll) -> None:
        """Forget a receive: it is done, or its client has gone."""
        poll.timeout.cancel()
        polls = self._waiting.get(poll.receive.queue, {})
        polls.pop(poll, None)
        if not polls:
            self._waiting.pop(poll.receive.queue, None)

    def wake(self) -> None:
        """Give, in the loop's next turn, what is visible to those who wait for it."""
        if self._waiting and self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._hand_out)

    def close(self) -> None:
        """Forget everybody."""
        for polls in list(self._waiting.values()):
            for poll in list(polls):
                self.remove(poll)
        if self._turn is not None:
            self._turn.cancel()
        self._cancel_timer()

    def _hand_out(self) -> None:
        self._turn = None
        for polls in list(self._waiting.values()):
            for poll in list(polls):
                if not self._serve(poll):
                    break
        self._set_timer()

    def _serve(self, poll: Poll) -> bool:
        """Give the poll what there is; return False when nothing is left for the next one."""
        if not poll.is_there():
            self.remove(poll)
            return True
        try:
            received = poll.receive.take()
        except SqsError as error:
            self._finish(poll, error)
            return True
        if received:
            self._finish(poll, received)
        return bool(received)

    def _finish(self, poll: Poll, result: Sequence[Received] | SqsError) -> None:
        self.remove(poll)
        poll.done(result)

    def _set_timer(self) -> None:
        changes = [queue.next_change_ms() for queue in self._waiting]
        next_ms = min((change for change in changes if change is not None), default=None)
        if next_ms == self._timer_ms and self._timer is not None:
            return
        self._cancel_timer()
        if next_ms is not None:
            # One millisecond more: a timer may fire a little early.
            seconds = max(0.0, next_ms / 1000 - self._clock()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)
            self._timer_ms = next_ms

    def _on_timer(self) -> None:
        self._timer = self._timer_ms = None
        self._hand_out()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_ms = None
