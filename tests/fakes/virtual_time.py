"""An event loop whose time jumps to the next timer whenever nothing is ready to run."""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# Which process a task belongs to, where a test has several in one loop; tasks inherit it.
PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("PROCESS", default="")


class _Task(asyncio.Task[_T]):
    """A task whose hash, and so its place in a TaskGroup's set, is the same in every run."""

    def __init__(
        self,
        coroutine: Coroutine[object, object, _T],
        *,
        loop: "VirtualTimeLoop",
        number: int,
        name: str | None,
        context: contextvars.Context | None,
    ) -> None:
        self._number = number
        super().__init__(coroutine, loop=loop, name=name or f"Task-{number}", context=context)

    def __hash__(self) -> int:
        return self._number


class _Handle(asyncio.TimerHandle):
    """A callback that is to run at `when`; lighter than asyncio's own."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "when_seconds")

    def __init__(
        self,
        when_seconds: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.when_seconds = when_seconds
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_seconds


class VirtualTimeLoop(asyncio.AbstractEventLoop):
    """Runs hours in milliseconds, and the same way each time.

    `pick(n)` chooses which of `n` ready callbacks is the next; without it they run in the order in
    which they became ready, as in asyncio's own loop. `kill` stops a process as kill -9 does:
    none of its code runs any more, no `finally` and no `except` either.
    """

    def __init__(self, pick: Callable[[int], int] | None = None) -> None:
        self._pick = pick
        self._now = 0.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._numbers = 0
        self._dead: set[str] = set()
        self._suspended: list[_Handle] = []
        self.failures: list[BaseException | str] = []

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[_T]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[object, object, _T] | Generator[object, None, _T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[_T]:
        assert isinstance(coro, Coroutine)
        self._numbers += 1
        return _Task(coro, loop=self, number=self._numbers, name=name, context=context)

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = _Handle(self._now, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self._add_timer(_Handle(self._now + delay, callback, args, context))

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self._add_timer(_Handle(when, callback, args, context))

    def _add_timer(self, handle: _Handle) -> asyncio.TimerHandle:
        self._numbers += 1
        heapq.heappush(self._timers, (handle.when_seconds, self._numbers, handle))
        return handle

    def call_exception_handler(self, context: dict[str, object]) -> None:
        failure = context.get("exception")
        self.failures.append(
            failure if isinstance(failure, BaseException) else str(context["message"])
        )

    def kill(self, process: str) -> None:
        """Let no code of a process run any more, from its next callback on."""
        self._dead.add(process)

    def resume_killed(self) -> None:
        """Let the tasks of killed processes run again, so that they can be cancelled."""
        self._dead.clear()
        self._ready += self._suspended
        self._suspended.clear()

    def run(self, coroutine: Coroutine[object, object, _T]) -> _T:
        """Run a coroutine to its end; raises RuntimeError if every task waits for ever."""
        task = self.create_task(coroutine)
        asyncio._set_running_loop(self)
        try:
            self._run_until(task)
        finally:
            asyncio._set_running_loop(None)
        return task.result()

    def _run_until(self, task: asyncio.Task[_T]) -> None:
        ready, dead, pick = self._ready, self._dead, self._pick
        while not task.done():
            if not ready:
                self._advance()
                continue
            if pick is None or len(ready) == 1:
                handle = ready.popleft()
            else:
                ready.rotate(-pick(len(ready)))
                handle = ready.popleft()
            if handle.is_cancelled:
                continue
            if dead and handle.context.get(PROCESS, "") in dead:
                self._suspended.append(handle)
            else:
                handle.context.run(handle.callback, *handle.args)

    def _advance(self) -> None:
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if not handle.is_cancelled:
                self._ready.append(handle)


def new_loop(pick: Callable[[int], int] | None = None) -> VirtualTimeLoop:
    """A loop at 0 seconds."""
    # What else an event loop has raises NotImplementedError, as it should.
    return VirtualTimeLoop(pick)  # type: ignore[abstract]


def run_virtually(coroutine: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end in virtual time, starting at 0 seconds."""
    loop = new_loop()
    result = loop.run(coroutine)
    assert not loop.failures, loop.failures
    return result
