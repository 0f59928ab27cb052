"""SIGTERM and SIGINT, for as long as the service runs."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_termination(first: Callable[[], object], further: Callable[[], object]) -> Iterator[None]:
    """Call `first` at the first SIGTERM or SIGINT and `further` at each later one.

    Both are called on the event loop. Whoever handled the signals before does so again afterwards.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    pending = [first]

    def handle() -> None:
        (pending.pop() if pending else further)()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
