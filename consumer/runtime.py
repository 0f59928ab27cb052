"""What the process needs of its surroundings: event loop, signals, sockets, cycle collector."""

import asyncio
import gc
import signal
import socket
import sys
from asyncio import BaseTransport
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar


@contextmanager
def on_termination(first: Callable[[], object], further: Callable[[], object]) -> Iterator[None]:
    """Call `first` at the first SIGTERM or SIGINT and `further` at each later one.

    Both are called on the event loop. Whoever handled the signals before does so again afterwards.
    """
    pending = [first]

    def handle() -> None:
        (pending.pop() if pending else further)()

    with _handled((signal.SIGTERM, signal.SIGINT), handle):
        yield


@contextmanager
def on_hangup(handle: Callable[[], object]) -> Iterator[None]:
    """Call `handle` at each SIGHUP, on the event loop; afterwards as it was before."""
    with _handled((signal.SIGHUP,), handle):
        yield


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handle: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


_IDLE_SECONDS = 2
_INTERVAL_SECONDS = 1
_PROBES = 3
# How long what we sent may go unacknowledged (tcp(7), TCP_USER_TIMEOUT): some four retransmissions.
_UNACKNOWLEDGED_MS = 3000


def end_when_silent(transport: BaseTransport) -> None:
    """Let the connection end when its peer acknowledges nothing for three seconds.

    Probes without data go out while nothing is said, which is most of a long poll.
    """
    link = transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if idle is not None:  # macOS has the second name
        link.setsockopt(socket.IPPROTO_TCP, idle, _IDLE_SECONDS)
    unacknowledged = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unacknowledged is not None:  # Linux alone has it
        link.setsockopt(socket.IPPROTO_TCP, unacknowledged, _UNACKNOWLEDGED_MS)


_T = TypeVar("_T")

_ALLOCATIONS_BETWEEN_COLLECTIONS = 20_000


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end, on uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.run(main)
    # Imported here, for it does not exist everywhere.
    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def spare_the_cycle_collector() -> None:
    """Let Python's cycle collector look less often, and not at what importing has made.

    Nothing on a message's way is in a cycle, and on its defaults the search takes a twentieth of
    the CPU that a message costs.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
