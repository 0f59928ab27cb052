"""The start: what is down is tried again, what is refused ends it."""

import asyncio

import pytest

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    KeyRingError,
    KeySourceError,
    QueueError,
    QueueRefusedError,
)
from consumer.pipeline.retrying import Backoff
from consumer.startup import Startup, StoppedDuringStartError
from consumer.telemetry import events as telemetry
from tests.fakes.virtual_time import run_virtually


def startup(stop: asyncio.Event, emitted: list[telemetry.TelemetryEvent] | None = None) -> Startup:
    events = [] if emitted is None else emitted
    return Startup(stop, lambda: Backoff(0.2, 3.0, lambda _, high: high), events.append)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (
            QueueError("GetQueueAttributes", "x"),
            telemetry.QueueFailed("GetQueueAttributes", "x", refused=False, pause_seconds=3.0),
        ),
        (KeySourceError("Decrypt", "y"), telemetry.KeyRingReadFailed("Decrypt", "y", 3.0)),
        (DatabaseError("08006"), telemetry.DatabaseUnavailable("08006", 3.0)),
    ],
)
def test_what_is_down_is_tried_again_with_pauses(
    error: QueueError | KeySourceError | DatabaseError, event: telemetry.TelemetryEvent
) -> None:
    async def scenario() -> None:
        emitted: list[telemetry.TelemetryEvent] = []
        tries = 0

        async def step() -> str:
            nonlocal tries
            tries += 1
            if tries <= 20:
                raise error
            return "there"

        assert await startup(asyncio.Event(), emitted).reach(step) == "there"
        assert len(emitted) == 20
        assert emitted[-1] == event
        assert asyncio.get_running_loop().time() > 20.0

    run_virtually(scenario())


@pytest.mark.parametrize(
    "error", [QueueRefusedError("x", "y"), DatabaseRefusedError("42P01"), KeyRingError("wrong")]
)
def test_what_is_refused_is_raised_at_once(
    error: QueueRefusedError | DatabaseRefusedError | KeyRingError,
) -> None:
    async def scenario() -> None:
        async def step() -> None:
            raise error

        with pytest.raises(type(error)):
            await startup(asyncio.Event()).reach(step)
        assert asyncio.get_running_loop().time() == 0.0

    run_virtually(scenario())


def test_a_stop_ends_the_tries_without_waiting_for_the_pause() -> None:
    async def scenario() -> None:
        async def step() -> str:
            raise DatabaseError("08006")

        stop = asyncio.Event()
        trying = asyncio.create_task(startup(stop).reach(step))
        await asyncio.sleep(31.0)
        stop.set()
        with pytest.raises(StoppedDuringStartError):
            await trying
        assert asyncio.get_running_loop().time() == 31.0

    run_virtually(scenario())
