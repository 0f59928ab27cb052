"""Signals and the cycle collector of the process; keepalive is in tests/integration."""

import gc
import os
import signal

from consumer.runtime import on_hangup, on_termination, relax_cycle_collector
from tests.waiting import eventually


async def test_the_first_signal_and_later_ones_call_different_handlers() -> None:
    called: list[str] = []
    with on_termination(lambda: called.append("first"), lambda: called.append("further")):
        for number, expected in (
            (signal.SIGTERM, ["first"]),
            (signal.SIGINT, ["first", "further"]),
            (signal.SIGTERM, ["first", "further", "further"]),
        ):
            os.kill(os.getpid(), number)
            await eventually(lambda expected=expected: called == expected)  # type: ignore[misc]  # a default binds it


async def test_the_handlers_from_before_are_restored() -> None:
    handled: list[int] = []

    def ours(number: int, _: object) -> None:
        handled.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, ours) for number in numbers}
    try:
        with on_termination(lambda: None, lambda: None), on_hangup(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not ours
        for number in numbers:
            assert signal.getsignal(number) is ours
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: handled == [signal.SIGTERM])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_cycle_collector_runs_less_often_and_not_over_what_the_start_made() -> None:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        relax_cycle_collector()
        young, *older = gc.get_threshold()
        assert young > 700
        assert older == [10, 10]
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
