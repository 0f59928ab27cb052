"""What a fault of the catalogue is."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tests.faults.harness.rig import Plan, Rig

Act = Callable[[Rig], Awaitable[None]]
Prepare = Callable[[Plan], AbstractContextManager[Plan]]


class CannotBeMadeError(Exception):
    """This machine cannot make the fault; the text says what it lacks."""


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
