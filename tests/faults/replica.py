"""`consumer run` with its edges wrapped, for faults that have to be placed inside of a process.

`python -m tests.faults.replica run`. EXIT_AT is a point's name and a number n: the process exits
there, at once, when it comes by for the n-th time. CLOCK_JUMPS makes the wall clock jump to and
fro by an hour. FORGETS makes it no service at all, for the harness to find out: it says of a batch
that it is committed, and has not written it.

The points, in the order of a message's way: `received` a receive has come back; `stating` before
the statement is sent; `stated` it is sent and its answer has not come; `committed` the answer has
come; `deleting` before a delete is sent; `deleted` it was answered.
"""

import asyncio
import os
import time
from collections.abc import Sequence

from consumer import service
from consumer.cli import main
from consumer.messages import Message, Outcome, Written
from consumer.pipeline.ports import BatchFailure
from consumer.postgres.sink import PostgresSink
from consumer.sqs.source import SqsSource

EXIT_CODE = 70
POINTS = ("received", "stating", "stated", "committed", "deleting", "deleted")

_ON_THE_WAY_SECONDS = 0.002
_JUMP_SECONDS = 3600.0
_JUMP_EVERY_SECONDS = 0.5


class _Exit:
    """Exits at one point, without any of Python's goodbyes."""

    def __init__(self, point: str, times: int) -> None:
        self._point = point
        self._left = times

    def comes_by(self, point: str) -> bool:
        self._left -= point == self._point
        return point == self._point and self._left == 0

    def at(self, point: str) -> None:
        if self.comes_by(point):
            os._exit(EXIT_CODE)


def _exiting_source(leave: _Exit) -> type[SqsSource]:
    class ExitingSource(SqsSource):
        async def receive(self) -> Sequence[Message]:
            messages = await super().receive()
            if messages:
                leave.at("received")
            return messages

        async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
            leave.at("deleting")
            refused = await super().delete(messages)
            leave.at("deleted")
            return refused

    return ExitingSource


def _exiting_sink(leave: _Exit) -> type[PostgresSink]:
    class ExitingSink(PostgresSink):
        async def write(self, batch: Sequence[Outcome]) -> Written:
            leave.at("stating")
            if leave.comes_by("stated"):
                writing = asyncio.ensure_future(super().write(batch))
                await asyncio.wait([writing], timeout=_ON_THE_WAY_SECONDS)
                os._exit(EXIT_CODE)
            written = await super().write(batch)
            leave.at("committed")
            return written

    return ExitingSink


class ForgettingSink(PostgresSink):
    """Breaks the first promise."""

    _forgotten = False

    async def write(self, batch: Sequence[Outcome]) -> Written:
        if not self._forgotten:
            self._forgotten = True
            return Written(len(batch), {}, 0)
        return await super().write(batch)


def _let_the_clock_jump() -> None:
    true_time = time.time

    def jumping() -> float:
        now = true_time()
        return now + _JUMP_SECONDS * (int(now / _JUMP_EVERY_SECONDS) % 3 - 1)

    time.time = jumping


def run() -> None:
    """Wrap what the environment says, and run the service."""
    if "CLOCK_JUMPS" in os.environ:
        _let_the_clock_jump()
    if point := os.environ.get("EXIT_AT"):
        name, _, times = point.partition(":")
        leave = _Exit(name, int(times))
        # The service looks these names up when it starts.
        setattr(service, "SqsSource", _exiting_source(leave))  # noqa: B010 - mypy takes a class's name for a constant
        setattr(service, "PostgresSink", _exiting_sink(leave))  # noqa: B010 - likewise
    if "FORGETS" in os.environ:
        setattr(service, "PostgresSink", ForgettingSink)  # noqa: B010 - likewise
    main()


if __name__ == "__main__":
    run()
