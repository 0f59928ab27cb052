"""Event loop, signals, TCP keepalive and cycle collector of the process."""

import asyncio
import gc
import signal
import socket
import sys
from asyncio import BaseTransport
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

_KEEPALIVE_IDLE_SECONDS = 2
_KEEPALIVE_INTERVAL_SECONDS = 1
_KEEPALIVE_PROBES = 3
# How long sent data may stay unacknowledged (tcp(7), TCP_USER_TIMEOUT): about four retransmissions.
_UNACKNOWLEDGED_MS = 3000
_ALLOCATIONS_BETWEEN_COLLECTIONS = 20_000

_T = TypeVar("_T")


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end, on uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.run(main)
    # Imported here: it does not exist everywhere.
    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextmanager
def on_termination(first: Callable[[], object], further: Callable[[], object]) -> Iterator[None]:
    """Call `first` at the first SIGTERM or SIGINT and `further` at each later one.

    Both are called on the event loop. The handlers from before are restored at the end.
    """
    pending = [first]

    def handle() -> None:
        (pending.pop() if pending else further)()

    with _handled((signal.SIGTERM, signal.SIGINT), handle):
        yield


@contextmanager
def on_hangup(handle: Callable[[], object]) -> Iterator[None]:
    """Call `handle` at each SIGHUP, on the event loop; restore the handler from before."""
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


def enable_tcp_keepalive(transport: BaseTransport) -> None:
    """End the connection if its peer acknowledges nothing for a few seconds.

    While no data flows, as in most of a long poll, the kernel sends probes. While data is
    unacknowledged, it waits for three seconds.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if idle is not None:  # macOS has the second name
        connection.setsockopt(socket.IPPROTO_TCP, idle, _KEEPALIVE_IDLE_SECONDS)
    unacknowledged = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unacknowledged is not None:  # Linux alone has it
        connection.setsockopt(socket.IPPROTO_TCP, unacknowledged, _UNACKNOWLEDGED_MS)


def relax_cycle_collector() -> None:
    """Run Python's cycle collector less often, and not over objects that importing made.

    No object on a message's way is in a cycle. With Python's defaults the collector takes a
    twentieth of the CPU that a message costs.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
