from uuid import UUID

from hypothesis import given, strategies as st

from consumer.messages import Message
from consumer.pipeline.batching import Batcher, runs_of


def message(number: int, size: int = 10) -> Message:
    return Message(str(UUID(int=number)), "", "", 0, size)


def test_there_is_nothing_to_wait_for_until_something_is_there() -> None:
    batcher = Batcher(10, 1000)
    assert batcher.wait_seconds(5.0) is None
    assert not batcher.take()


def test_without_a_linger_whatever_waits_may_be_taken_at_once() -> None:
    batcher = Batcher(10, 1000)
    batcher.add([message(1)], 5.0)
    assert batcher.wait_seconds(5.0) == 0
    batcher.add([message(2)], 5.0)
    assert batcher.take() == [message(1), message(2)]
    assert batcher.wait_seconds(5.0) is None


def test_a_linger_counts_from_the_oldest_and_ends_early_once_a_batch_is_full() -> None:
    batcher = Batcher(3, 1000, linger_seconds=2.0)
    batcher.add([message(1)], 5.0)
    batcher.add([message(2)], 6.0)
    assert batcher.wait_seconds(6.0) == 1.0
    assert batcher.wait_seconds(7.5) == 0
    batcher.add([message(3)], 6.0)
    assert batcher.wait_seconds(6.0) == 0


def test_a_message_larger_than_the_bound_of_a_batch_goes_alone() -> None:
    batcher = Batcher(10, 100)
    for number, size in ((1, 60), (2, 500), (3, 60)):
        batcher.add([message(number, size)], 0.0)
    assert [len(batcher.take()) for _ in range(4)] == [1, 1, 1, 0]


@given(
    sizes=st.lists(st.integers(0, 300), max_size=40),
    max_rows=st.integers(1, 8),
    max_bytes=st.integers(1, 400),
)
def test_batches_are_the_runs_of_what_waits(
    sizes: list[int], max_rows: int, max_bytes: int
) -> None:
    batcher = Batcher(max_rows, max_bytes)
    messages = [message(number, size) for number, size in enumerate(sizes)]
    batcher.add(messages, 0.0)
    batches = []
    while len(batcher):
        batches.append(batcher.take())
    assert batches == list(runs_of(messages, max_rows, max_bytes))


@given(
    sizes=st.lists(st.integers(0, 300), max_size=40),
    max_messages=st.integers(1, 8),
    max_bytes=st.integers(1, 400),
)
def test_runs_keep_the_order_and_are_as_long_as_the_bounds_allow(
    sizes: list[int], max_messages: int, max_bytes: int
) -> None:
    messages = [message(number, size) for number, size in enumerate(sizes)]
    runs = list(runs_of(messages, max_messages, max_bytes))
    assert [each for run in runs for each in run] == messages
    totals = [sum(each.size for each in run) for run in runs]
    for run, total in zip(runs, totals, strict=True):
        assert 1 <= len(run) <= max_messages
        assert total <= max_bytes or len(run) == 1
    for run, total, following in zip(runs, totals, runs[1:], strict=False):
        assert len(run) == max_messages or total + following[0].size > max_bytes


def test_a_run_that_fills_the_bound_to_the_byte_is_not_cut() -> None:
    messages = [message(number, size) for number, size in enumerate((60, 40, 1))]
    assert [len(run) for run in runs_of(messages, 8, 100)] == [2, 1]
