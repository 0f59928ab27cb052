"""Faults on real processes under load; `make faults` makes all of them, and for longer."""

from dataclasses import replace

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.harness.replicas import WRAPPED
from tests.faults.harness.rig import Plan, open_rig
from tests.history.checker import Kind

PLAN = Plan(a_second=100, replicas=2, visibility_seconds=5, hold_seconds=1.0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((8, 9, 10, 4), id="of the database"),
        pytest.param((17, 18, 14, 15, 16), id="of messages and deletes"),
    ],
)
async def test_every_promise_is_kept_under_faults(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        if obstacle := FAULTS[number].obstacle(PLAN):
            pytest.skip(obstacle)
    with FAULTS[numbers[0]].prepare(PLAN) as plan:
        async with open_rig(plan) as rig:
            await rig.start()
            with rig.fault("kill -9"):
                rig.replicas[0].kill()
                rig.replicas[0].start()
            for number in numbers:
                await FAULTS[number].act(rig)
                await rig.at_full_rate()
            await rig.replicas[0].consuming()
            result = await rig.finish()
    assert result.kept, (str(result.verdict), result.problems)
    assert result.verdict.sent > 100


@pytest.mark.timeout(300)
async def test_a_service_that_forgets_a_batch_is_found_out() -> None:
    async with open_rig(replace(PLAN, replicas=0)) as rig:
        forgetful = rig.replica("forgetful", arguments=WRAPPED, variables={"FORGETS": "1"})
        forgetful.start()
        await rig.start()
        result = await rig.finish()
    assert {Kind.LOST, Kind.DELETED_BEFORE_COMMITTED} <= result.verdict.kinds
    assert not result.kept
