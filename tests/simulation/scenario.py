"""What happens in a run, drawn from its seed."""

import json
import random
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.pipeline.limits import PipelineLimits
from tests.history.marked import Marks, marked_bodies

RECEIVE, DELETE, EXTEND = "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"
COMMIT = "COMMIT"
VISIBILITY_SECONDS = 30
# Rows with this locale are refused by a CHECK constraint.
REFUSED_LOCALE = "XX"

_RNG = random.Random(4)  # noqa: S311 - not for secrets
MARKS = Marks(_RNG)
VALID = list(marked_bodies(_RNG, MARKS, 40, invalid_share=0))
INVALID = list(marked_bodies(_RNG, MARKS, 20, invalid_share=1))
REFUSED = [json.dumps(json.loads(body) | {"locale": REFUSED_LOCALE}) for body in VALID[:10]]


class CallFault(StrEnum):
    """What may go wrong with a call."""

    FAILS = "fails"
    REFUSED = "is refused until someone acts"
    ANSWER_LOST = "is acted on, its answer is lost"
    STALLS = "stalls"
    PARTLY_FAILS = "fails for some of its entries"
    TWICE = "is followed by a redelivery of its messages"
    REAPPEARS = "is acted on, and its messages are redelivered all the same"
    KILLED_BEFORE = "is not acted on, because the replica is killed first"
    KILLED_AFTER = "is acted on, and the replica is killed"


_OF_QUEUE = (
    CallFault.FAILS,
    CallFault.REFUSED,
    CallFault.ANSWER_LOST,
    CallFault.STALLS,
    CallFault.KILLED_BEFORE,
    CallFault.KILLED_AFTER,
)
FAULTS = {
    RECEIVE: (*_OF_QUEUE, CallFault.TWICE),
    DELETE: (*_OF_QUEUE, CallFault.PARTLY_FAILS, CallFault.REAPPEARS),
    EXTEND: (*_OF_QUEUE, CallFault.PARTLY_FAILS),
    COMMIT: _OF_QUEUE,
}
_STOPPED_WHILE_DOWN_SHARE = 0.05
_KILLING = (CallFault.KILLED_BEFORE, CallFault.KILLED_AFTER)


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """From `start` to `end` a call meets this fault with a probability of `chance`."""

    operation: str
    fault: CallFault
    start: float
    end: float
    chance: float


class End(StrEnum):
    """How a replica ends."""

    KILLED = "kill -9"
    STOPPED = "SIGTERM"
    CANCELLED = "SIGTERM twice"


@dataclass(frozen=True, slots=True)
class Ending:
    """At `at` the replica of a slot ends, and `pause` later another takes its place."""

    at: float
    slot: int
    end: End
    pause: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run; the faults are over at `calm_at`."""

    seed: int
    slots: int
    limits: PipelineLimits
    wait_seconds: float
    is_permuted: bool
    sends: tuple[tuple[float, str], ...]
    fault_windows: tuple[FaultWindow, ...]
    endings: tuple[Ending, ...]
    calm_at: float


def draw(seed: int) -> Scenario:
    """The run of a seed."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    calm_at = rng.uniform(2, 70)
    slots = rng.choice((1, 1, 1, 2, 2, 3))
    count = rng.choices((rng.randrange(1, 10), rng.randrange(10, 30)), (4, 1))[0]
    scenario = Scenario(
        seed=seed,
        slots=slots,
        limits=_limits(rng),
        wait_seconds=rng.choice((3.0, 8.0, 20.0)),
        is_permuted=rng.random() < 0.75,
        sends=tuple(sorted((_moment(rng, calm_at), _body(rng)) for _ in range(count))),
        fault_windows=tuple(_fault_window(rng, calm_at) for _ in range(rng.randrange(6))),
        endings=tuple(_ending(rng, calm_at, slots) for _ in range(rng.randrange(4))),
        calm_at=calm_at,
    )
    if rng.random() < _STOPPED_WHILE_DOWN_SHARE:
        return _stopped_while_down(rng, scenario)
    return scenario


def _stopped_while_down(rng: random.Random, scenario: Scenario) -> Scenario:
    """SIGTERM while the database is down for longer than a visibility timeout."""
    calm_at = rng.uniform(1.2, 3) * VISIBILITY_SECONDS
    fault = rng.choice((CallFault.FAILS, CallFault.REFUSED, CallFault.STALLS))
    return replace(
        scenario,
        fault_windows=(FaultWindow(COMMIT, fault, 0.0, calm_at, 1.0),),
        endings=(Ending(rng.uniform(0.1, 10), 0, End.STOPPED, 1.0),),
        calm_at=calm_at,
    )


def calm(seed: int) -> Scenario:
    """The same replicas, to which nothing happens."""
    return replace(draw(seed), sends=(), fault_windows=(), endings=(), calm_at=0.0)


def _moment(rng: random.Random, calm_at: float) -> float:
    """Often at the beginning, so that batches are full."""
    return 0.0 if rng.random() < 0.6 else rng.uniform(0, calm_at)


def _body(rng: random.Random) -> str:
    bodies = rng.choices((VALID, INVALID, REFUSED), (80, 12, 8))[0]
    return rng.choice(bodies)


def _limits(rng: random.Random) -> PipelineLimits:
    return PipelineLimits(
        visibility_seconds=VISIBILITY_SECONDS,
        max_pollers=rng.randrange(1, 5),
        max_deleters=rng.randrange(1, 4),
        max_extenders=4,
        writers=rng.choice((1, 1, 2, 3)),
        max_in_flight_messages=rng.choice((10, 10, 20, 100)),
        max_in_flight_bytes=rng.choice((1000, 100_000)),
        max_batch_rows=rng.choice((1, 3, 10, 100)),
        max_batch_bytes=rng.choice((500, 100_000)),
        linger_seconds=rng.choice((0.0, 0.0, 0.5)),
        min_pause_seconds=0.2,
        max_pause_seconds=3.0,
        drain_seconds=rng.choice((2.0, 25.0, 120.0)),
    )


def _fault_window(rng: random.Random, calm_at: float) -> FaultWindow:
    operation = rng.choice((RECEIVE, DELETE, EXTEND, COMMIT, COMMIT))
    fault = rng.choice(FAULTS[operation])
    start = rng.uniform(0, calm_at) if rng.random() < 0.5 else 0.0
    end = rng.uniform(start, calm_at)
    chance = rng.choice((0.1, 0.5, 0.5, 1.0))
    if fault in _KILLING:
        chance = min(chance, 0.2)
    return FaultWindow(operation, fault, start, end, chance)


def _ending(rng: random.Random, calm_at: float, slots: int) -> Ending:
    at = rng.uniform(0, calm_at) if rng.random() < 0.5 else rng.uniform(0, min(1.0, calm_at))
    end = rng.choices(tuple(End), (5, 4, 1))[0]
    return Ending(at, rng.randrange(slots), end, rng.uniform(0, 10))
