"""Random steps, each of which must leave the promises kept."""

import asyncio

import pytest
from hypothesis import Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.history.checker import Kind
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import (
    FAULTS,
    INVALID,
    REFUSED,
    VALID,
    CallFault,
    End,
    FaultWindow,
    calm,
)
from tests.simulation.service import SERVICE
from tests.simulation.world import World

# Only the end decides these: until then a message may be on its way.
_AT_THE_END = {Kind.LOST, Kind.LEFT_ON_QUEUE, Kind.LEFT_IN_FLIGHT}
_FAULTS = [(operation, fault) for operation, faults in FAULTS.items() for fault in faults]


class Operator(RuleBasedStateMachine):
    """Sends, breaks, heals and ends replicas, and lets time pass in between."""

    service = SERVICE

    @initialize(seed=st.integers(0, 999))
    def open(self, seed: int) -> None:
        self.world = World(calm(seed), self.service)
        self.world.open()

    @rule(bodies=st.lists(st.sampled_from([*VALID, *INVALID, *REFUSED]), min_size=1, max_size=12))
    def send(self, bodies: list[str]) -> None:
        for body in bodies:
            self.world.send(body)

    @rule(seconds=st.sampled_from((0.005, 0.02, 0.1, 1.0, 15.0, 31.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.world.loop.run(asyncio.sleep(seconds))

    @rule(what=st.sampled_from(_FAULTS), chance=st.sampled_from((0.2, 1.0)))
    def break_something(self, what: tuple[str, CallFault], chance: float) -> None:
        now = self.world.loop.time()
        self.world.fault_windows.append(FaultWindow(*what, now, float("inf"), chance))

    @precondition(lambda self: self.world.fault_windows)
    @rule()
    def heal(self) -> None:
        self.world.fault_windows.clear()

    @precondition(lambda self: self.world.alive)
    @rule(choice=st.integers(0, 9), end=st.sampled_from(End))
    def end_a_replica(self, choice: int, end: End) -> None:
        alive = self.world.alive
        self.world.end(alive[choice % len(alive)], end)

    @invariant()
    def the_promises_are_kept_so_far(self) -> None:
        verdict = self.world.verdict()
        assert verdict.kinds <= _AT_THE_END, verdict

    def teardown(self) -> None:
        self.world.fault_windows.clear()
        result = self.world.loop.run(self.world.drain_and_finish())
        assert result.verdict.kept, result.verdict


class OperatorOfMutant(Operator):
    service, _ = MUTANTS["ledger off"]


def test_the_steps_convict_a_mutant() -> None:
    found = settings(max_examples=200, phases=[Phase.generate], database=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(OperatorOfMutant, settings=found)


TestOperator = Operator.TestCase
TestOperator.settings = settings(max_examples=30, stateful_step_count=20)
