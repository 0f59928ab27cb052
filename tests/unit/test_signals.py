import os
import signal

from consumer.runtime import on_hangup, on_termination
from tests.waiting import eventually


async def test_the_first_signal_and_the_later_ones_are_told_apart_whichever_they_are() -> None:
    told: list[str] = []
    with on_termination(lambda: told.append("first"), lambda: told.append("further")):
        for number, expected in (
            (signal.SIGTERM, ["first"]),
            (signal.SIGINT, ["first", "further"]),
            (signal.SIGTERM, ["first", "further", "further"]),
        ):
            os.kill(os.getpid(), number)
            await eventually(lambda expected=expected: told == expected)  # type: ignore[misc]  # a default binds it


async def test_whoever_handled_the_signals_before_does_so_again() -> None:
    taken: list[int] = []

    def ours(number: int, _: object) -> None:
        taken.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, ours) for number in numbers}
    try:
        with on_termination(lambda: None, lambda: None), on_hangup(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not ours
        for number in numbers:
            assert signal.getsignal(number) is ours
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: taken == [signal.SIGTERM])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
