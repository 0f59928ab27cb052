"""What the simulation has found, each as the smallest run that shows it."""

from dataclasses import replace

from consumer.pipeline.limits import PipelineLimits
from tests.history.checker import Kind
from tests.simulation.mutants import FORGETS_TO_REPORT_ROOM
from tests.simulation.scenario import RECEIVE, CallFault, FaultWindow, Scenario
from tests.simulation.world import run

_LIMITS = PipelineLimits(
    visibility_seconds=30,
    max_pollers=2,
    max_deleters=1,
    max_extenders=4,
    writers=1,
    max_in_flight_messages=10,
    max_in_flight_bytes=100_000,
    max_batch_rows=10,
    max_batch_bytes=100_000,
    linger_seconds=0.0,
    min_pause_seconds=0.2,
    max_pause_seconds=3.0,
    drain_seconds=10.0,
)
_CALM = Scenario(
    seed=0,
    slots=1,
    limits=_LIMITS,
    wait_seconds=20.0,
    is_permuted=False,
    sends=(),
    fault_windows=(),
    endings=(),
    calm_at=20.0,
)


def test_a_poll_that_failed_gives_its_room_to_one_that_waits_for_it() -> None:
    # A full receive begot a second poller, and there is room for the poll of one of the two. When
    # it failed, its poller retired; the other waited for a delete, of which there was none to come.
    scenario = replace(
        _CALM,
        sends=((0.0, "{}"),) * 10 + ((10.0, "{}"),),
        fault_windows=(FaultWindow(RECEIVE, CallFault.FAILS, start=0.04, end=5.0, chance=1.0),),
    )
    assert run(scenario).verdict.kept
    assert Kind.LOST in run(scenario, FORGETS_TO_REPORT_ROOM).verdict.kinds
