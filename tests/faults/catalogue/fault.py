"""What a fault of the catalogue is."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.proxy import check_packets_can_be_dropped
from tests.faults.harness.rig import Plan, Rig

Act = Callable[[Rig], Awaitable[None]]
Prepare = Callable[[Plan], AbstractContextManager[Plan]]


@dataclass(frozen=True)
class Fault:
    """`act` makes the fault under load and heals it.

    `prepare` changes what the run is made of, for as long as its context lasts; it raises
    CannotBeMadeError where this machine lacks something.
    """

    number: int
    name: str
    act: Act
    prepare: Prepare = nullcontext

    def obstacle(self, plan: Plan) -> str:
        """Why this machine cannot make the fault; empty if it can."""
        try:
            with self.prepare(plan):
                return ""
        except CannotBeMadeError as reason:
            return str(reason)


@contextmanager
def dropped_packets(plan: Plan) -> Iterator[Plan]:
    check_packets_can_be_dropped()
    yield plan
