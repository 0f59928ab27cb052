"""What the service reads of its pipeline; the rest of it runs in tests/integration."""

import asyncio

from consumer.pipeline.pipeline import Pipeline
from consumer.service import PipelineProbe
from consumer.settings.sections import SqsSettings
from tests.fakes.database import MemoryDatabase
from tests.fakes.queue import MemoryQueue
from tests.fakes.transform import PlainTransform
from tests.fakes.virtual_time import run_virtually
from tests.unit.pipeline.test_pipeline import LIMITS


def pipeline(queue: MemoryQueue) -> Pipeline:
    return Pipeline(
        source=queue,
        sink=MemoryDatabase(commit_seconds=10_000.0),
        transform=PlainTransform(),
        limits=LIMITS,
        emit=lambda _: None,
        clock=asyncio.get_running_loop().time,
        uniform=lambda _, high: high,
    )


def test_before_there_is_a_pipeline_nothing_is_in_flight_and_no_poll_is_overdue() -> None:
    probe = PipelineProbe(20, SqsSettings())
    assert probe.in_flight() == 0
    assert not probe.poll_is_overdue()


def test_a_poll_is_overdue_once_it_is_open_for_longer_than_it_may_be() -> None:
    async def scenario() -> None:
        probe = PipelineProbe(20, SqsSettings())
        probe.pipeline = pipeline(MemoryQueue(wait_seconds=10_000.0))
        assert not probe.poll_is_overdue()
        run = asyncio.create_task(probe.pipeline.run(asyncio.Event()))
        await asyncio.sleep(39.0)  # the wait of 20 s, 10 s for the call, and 10 s more
        assert not probe.poll_is_overdue()
        await asyncio.sleep(2.0)
        assert probe.poll_is_overdue()
        run.cancel()
        await asyncio.wait([run])

    run_virtually(scenario())


def test_what_the_pipeline_holds_is_in_flight() -> None:
    async def scenario() -> None:
        queue = MemoryQueue(wait_seconds=10_000.0)
        queue.send("a")
        probe = PipelineProbe(20, SqsSettings())
        probe.pipeline = pipeline(queue)
        run = asyncio.create_task(probe.pipeline.run(asyncio.Event()))
        await asyncio.sleep(1.0)
        assert probe.in_flight() == 1
        run.cancel()
        await asyncio.wait([run])

    run_virtually(scenario())
