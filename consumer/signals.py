"""SIGTERM, SIGINT and SIGHUP, for as long as the service runs."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


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
