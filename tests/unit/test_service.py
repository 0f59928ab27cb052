"""The parts of the service that need no queue and no database."""

import asyncio
import io
from collections.abc import Sequence

import pytest

from consumer.errors import DatabaseError, DatabaseRefusedError, QueueError, QueueRefusedError
from consumer.pipeline.pipeline import Pipeline
from consumer.service import _Service
from consumer.settings.sections import Settings
from consumer.telemetry import events as telemetry
from consumer.telemetry.events import Listener
from consumer.telemetry.logs import make_logger
from tests.fakes.database import MemoryDatabase
from tests.fakes.queue import MemoryQueue
from tests.fakes.transform import PlainTransform
from tests.fakes.virtual_time import run_virtually
from tests.unit.test_pipeline import LIMITS


def service(
    listeners: Sequence[Listener] = (), *, until_empty: bool = False
) -> tuple[_Service, Pipeline]:
    """A service in the running loop, with a pipeline that carries nothing yet."""
    made = _Service(
        Settings(),
        make_logger(level="error", form="json", stream=io.StringIO()),
        listeners,
        until_empty=until_empty,
    )
    made._pipeline = Pipeline(
        source=MemoryQueue(wait_seconds=10_000.0),
        sink=MemoryDatabase(commit_seconds=10_000.0),
        transform=PlainTransform(),
        limits=LIMITS,
        emit=made._emit,
        clock=asyncio.get_running_loop().time,
        uniform=lambda _, high: high,
    )
    return made, made._pipeline


def received(count: int) -> telemetry.Received:
    return telemetry.Received(count, redelivered=0, seconds=1.0)


@pytest.mark.parametrize(
    ("counts", "stops"),
    [
        ([0, 0], True),
        ([0], False),
        ([0, 3, 0], False),
        ([3, 0, 0], True),
    ],
)
def test_a_drain_ends_after_two_empty_receives_in_a_row(counts: list[int], *, stops: bool) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        listen = service(until_empty=True)[0]._stop_when_empty(stop)
        for count in counts:
            await asyncio.sleep(1.0)
            listen(received(count))
        assert stop.is_set() is stops

    run_virtually(scenario())


def test_empty_receives_that_were_open_at_the_same_time_count_as_one() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        listen = service(until_empty=True)[0]._stop_when_empty(stop)
        await asyncio.sleep(1.0)
        for _ in range(16):
            listen(received(0))
        await asyncio.sleep(0.9)
        listen(received(0))
        assert not stop.is_set()
        await asyncio.sleep(0.1)
        listen(received(0))
        assert stop.is_set()

    run_virtually(scenario())


def test_a_drain_does_not_end_while_something_is_in_flight() -> None:
    async def scenario() -> None:
        drain, pipeline = service(until_empty=True)
        assert isinstance(pipeline._source, MemoryQueue)
        pipeline._source.send("a")
        run = asyncio.create_task(pipeline.run(asyncio.Event()))
        await asyncio.sleep(1.0)
        assert pipeline.in_flight == 1
        stop = asyncio.Event()
        listen = drain._stop_when_empty(stop)
        for _ in range(5):
            await asyncio.sleep(1.0)
            listen(received(0))
        assert not stop.is_set()
        run.cancel()
        await asyncio.wait([run])

    run_virtually(scenario())


def test_a_run_does_not_end_on_an_empty_queue() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        listen = service()[0]._stop_when_empty(stop)
        for _ in range(5):
            await asyncio.sleep(1.0)
            listen(received(0))
        assert not stop.is_set()

    run_virtually(scenario())


def test_the_watchdog_barks_once_a_receive_is_open_past_its_deadline() -> None:
    async def scenario() -> None:
        run, pipeline = service()
        assert not run._poll_is_overdue()
        task = asyncio.create_task(pipeline.run(asyncio.Event()))
        await asyncio.sleep(39.0)  # the wait of 20 s, 10 s for the call, and 10 s more
        assert not run._poll_is_overdue()
        assert run._health.not_alive() == []
        await asyncio.sleep(2.0)
        assert run._poll_is_overdue()
        assert run._health.not_alive() != []
        task.cancel()
        await asyncio.wait([task])

    run_virtually(scenario())


@pytest.mark.parametrize("error", [QueueError("GetQueueAttributes", "x"), DatabaseError("08006")])
def test_what_is_down_at_the_start_is_tried_again_with_pauses(
    error: QueueError | DatabaseError,
) -> None:
    async def scenario() -> None:
        told: list[telemetry.TelemetryEvent] = []
        run, _ = service([told.append])
        tries = 0

        async def attempt() -> str:
            nonlocal tries
            tries += 1
            if tries <= 20:
                raise error
            return "there"

        assert await run._once_reachable(asyncio.Event(), attempt) == "there"
        assert len(told) == 20
        assert asyncio.get_running_loop().time() > 20.0
        assert run._health.not_ready() != ["starting"]  # it names what is in the way

    run_virtually(scenario())


@pytest.mark.parametrize("error", [QueueRefusedError("x", "y"), DatabaseRefusedError("42P01")])
def test_what_is_refused_at_the_start_is_raised_at_once(
    error: QueueRefusedError | DatabaseRefusedError,
) -> None:
    async def scenario() -> None:
        async def attempt() -> None:
            raise error

        with pytest.raises(type(error)):
            await service()[0]._once_reachable(asyncio.Event(), attempt)
        assert asyncio.get_running_loop().time() == 0.0

    run_virtually(scenario())


def test_a_stop_during_the_start_ends_the_tries_without_waiting_for_the_pause() -> None:
    async def scenario() -> None:
        async def attempt() -> str:
            raise DatabaseError("08006")

        stop = asyncio.Event()
        trying = asyncio.create_task(service()[0]._once_reachable(stop, attempt))
        await asyncio.sleep(30.0)
        stop.set()
        assert await trying is None
        assert asyncio.get_running_loop().time() == 30.0

    run_virtually(scenario())
