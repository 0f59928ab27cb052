import random

from hypothesis import given, strategies as st

from consumer.pipeline.retrying import Backoff


def highest(_: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_with_each_failure_up_to_the_longest_pause() -> None:
    backoff = Backoff(0.2, 3.0, highest)
    assert [backoff.pause_seconds() for _ in range(6)] == [0.4, 0.8, 1.6, 3.0, 3.0, 3.0]


def test_a_refusal_goes_to_the_longest_pause_at_once() -> None:
    assert Backoff(0.2, 3.0, highest).pause_seconds(refused=True) == 3.0


def test_a_success_starts_again_from_the_shortest() -> None:
    backoff = Backoff(0.2, 3.0, highest)
    failing = [backoff.failing]
    backoff.pause_seconds(refused=True)
    failing.append(backoff.failing)
    backoff.succeeded()
    failing.append(backoff.failing)
    assert failing == [False, True, False]
    assert backoff.pause_seconds() == 0.4


@given(st.integers(0), st.lists(st.booleans(), min_size=1, max_size=50))
def test_no_pause_is_shorter_or_longer_than_the_settings_say(seed: int, tries: list[bool]) -> None:
    # S311: jitter needs no secrecy.
    backoff = Backoff(0.2, 3.0, random.Random(seed).uniform)  # noqa: S311
    assert all(0.2 <= backoff.pause_seconds(refused=refused) <= 3.0 for refused in tries)
