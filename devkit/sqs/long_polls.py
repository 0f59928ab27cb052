"""Receives that wait for a message."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from devkit.sqs.queue import Queue
from devkit.sqs.requests import Json

_EARLY_SECONDS = 0.001


class LongPolls:
    """Lets receives wait, first come, first served; `clock` returns seconds since the epoch.

    `wake` is to be called when a message may have become visible, other than by the passing of
    time. Messages are taken in a turn of the loop of their own: a client that closed its connection
    before a message was sent is known to be gone then.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[asyncio.Event, None] = {}

    async def wait(self, queue: Queue, take: Callable[[], Json], seconds: int) -> Json:
        """Return what `take` returns once that is something, or empty after so many seconds."""
        loop = asyncio.get_running_loop()
        deadline, woken = loop.time() + seconds, asyncio.Event()
        self._waiting[woken] = None
        try:
            while (left := deadline - loop.time()) > 0:
                if (next_ms := queue.next_change_ms()) is not None:
                    # A timer may fire a little early.
                    left = min(left, max(0.0, next_ms / 1000 - self._clock()) + _EARLY_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await woken.wait()
                woken.clear()
                if result := take():
                    return result
            return {}
        finally:
            del self._waiting[woken]

    def wake(self) -> None:
        for woken in self._waiting:
            woken.set()
