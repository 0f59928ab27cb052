"""When `consumer drain` ends."""

import pytest

from consumer.drain_end import DrainEnd
from consumer.telemetry import events as telemetry


class World:
    """A drain that ends after two empty receives, and what it reads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.in_flight = 0
        self.ended = False
        self.listen = DrainEnd(
            self._end, lambda: self.in_flight, lambda: self.now, empty_receives=2
        ).listen

    def _end(self) -> None:
        self.ended = True

    def received(self, count: int, seconds: float = 1.0) -> None:
        """A receive that was open for so long returns at this moment."""
        self.listen(telemetry.Received(count, redelivered=0, seconds=seconds))


@pytest.mark.parametrize(
    ("counts", "ends"),
    [
        ([0], False),
        ([0, 0], True),
        ([0, 3, 0], False),
        ([3, 0, 0], True),
    ],
)
def test_a_drain_ends_after_two_empty_receives_in_a_row(counts: list[int], *, ends: bool) -> None:
    world = World()
    for count in counts:
        world.now += 1.0
        world.received(count)
    assert world.ended is ends


def test_empty_receives_that_were_open_at_the_same_time_count_as_one() -> None:
    world = World()
    world.now = 1.0
    for _ in range(16):
        world.received(0)
    world.now = 1.9
    world.received(0)
    assert not world.ended
    world.now = 2.0
    world.received(0)
    assert world.ended


def test_a_drain_does_not_end_while_something_is_in_flight() -> None:
    world = World()
    world.in_flight = 1
    for _ in range(5):
        world.now += 1.0
        world.received(0)
    assert not world.ended
    world.in_flight = 0
    for ended in (False, True):
        world.now += 1.0
        world.received(0)
        assert world.ended is ended


def test_a_receive_that_returned_a_damaged_message_is_not_empty() -> None:
    world = World()
    for ended in (False, False, False, True):
        world.now += 1.0
        if world.now == 2.0:
            world.listen(telemetry.MessageDamaged("BodyDamaged"))
        world.received(0)
        assert world.ended is ended


def test_events_other_than_receives_do_not_count() -> None:
    world = World()
    for _ in range(5):
        world.now += 1.0
        world.listen(telemetry.Deleted(1))
    assert not world.ended
