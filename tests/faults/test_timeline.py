"""What the harness says of a fault by what it saw."""

from tests.faults.harness.outcome import percentile
from tests.faults.harness.timeline import Seen, Span, Timeline

RATE = 100.0


def timeline(*deleted_a_second: float) -> Timeline:
    """A look ten times a second; what was down is asked as often as messages are deleted."""
    seen, deleted = [], 0.0
    for second, rate in enumerate(deleted_a_second):
        for tenth in range(10):
            at = second + tenth / 10
            seen.append(Seen(at, 0, round(deleted), 0, 0, round(deleted), 0, {}))
            deleted += rate / 10
    return Timeline(RATE, seen)


def test_it_is_back_at_the_first_look_from_which_on_the_rate_is_full() -> None:
    span = Span("a", 1.0, 2.0)
    assert timeline(100, 0, 100, 100).seconds_to_be_back(span) == 0.0
    assert timeline(100, 0, 0, 0, 95, 95).seconds_to_be_back(span) == 2.0
    assert timeline(100, 0, 300, 300).seconds_to_be_back(span) == 0.0


def test_what_was_not_seen_is_not_shown() -> None:
    assert timeline(100, 0, 80, 80, 80).seconds_to_be_back(Span("a", 1.0, 2.0)) is None
    assert timeline(100, 100).seconds_to_be_back(Span("a", 1.0)) is None


def test_a_fault_is_not_blamed_for_another_that_began_meanwhile() -> None:
    seen = timeline(100, 0, 0, 0, 100, 100)
    first, other = Span("a", 1.0, 2.0), Span("b", 2.5, 4.0, down="queue_tries")
    seen.spans += [first, other]
    assert seen.seconds_to_be_back(first) is None
    assert seen.seconds_to_be_back(other) == 0.0
    other.down = None  # it took nothing away that all need
    assert seen.seconds_to_be_back(first) == 2.0


def test_tries_are_counted_from_a_second_after_the_beginning_on_for_each_replica() -> None:
    seen = timeline(100, 500, 8, 8, 100)
    span = Span("a", 1.0, 4.0, down="queue_tries", replicas=4)
    tries = seen.tries_a_second(span)
    assert tries is not None
    assert 1.5 < tries < 2.5
    assert seen.tries_a_second(Span("a", 1.0, 4.0)) is None
    assert seen.tries_a_second(Span("a", 1.0, 1.5, down="queue_tries")) is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([3], 0.99)) == (50, 99, 3)
