import random
from collections.abc import Sequence
from uuid import UUID

from hypothesis import given, strategies as st

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import BatchFailure
from consumer.pipeline.retrying import Backoff, BatchCallResult, RetryState, in_tens, run_batch_call
from consumer.telemetry import events as telemetry

MESSAGES = [Message(str(UUID(int=number)), "", "", 0, 1) for number in range(4)]


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


def test_a_failure_shows_even_if_the_shortest_pause_is_the_longest() -> None:
    backoff = Backoff(3.0, 3.0, highest)
    assert backoff.pause_seconds() == 3.0
    assert backoff.failing


@given(st.integers(0), st.lists(st.booleans(), min_size=1, max_size=50))
def test_no_pause_is_shorter_or_longer_than_the_settings_say(seed: int, tries: list[bool]) -> None:
    # S311: jitter needs no secrecy.
    backoff = Backoff(0.2, 3.0, random.Random(seed).uniform)  # noqa: S311
    assert all(0.2 <= backoff.pause_seconds(refused=refused) <= 3.0 for refused in tries)


async def answered(*refused: BatchFailure) -> Sequence[BatchFailure]:
    return refused


async def failed(error: QueueError) -> Sequence[BatchFailure]:
    raise error


async def test_all_messages_of_a_successful_call_have_succeeded() -> None:
    result = await run_batch_call("Delete", answered(), MESSAGES)
    assert result == BatchCallResult(MESSAGES, (), None)


async def test_no_message_of_a_failed_call_has_succeeded() -> None:
    error = QueueError("Delete", "Timeout")
    result = await run_batch_call("Delete", failed(error), MESSAGES)
    assert result == BatchCallResult((), (), error)


async def test_a_partial_failure_tells_expired_handles_from_messages_to_retry() -> None:
    one, two, three, four = MESSAGES
    result = await run_batch_call(
        "Delete",
        answered(
            BatchFailure(two, "ReceiptHandleIsInvalid", handle_expired=True),
            BatchFailure(four, "Internal", handle_expired=False),
        ),
        MESSAGES,
    )
    assert (result.succeeded, result.handle_expired) == ([one, three], [two])
    assert result.error is not None
    assert (result.error.operation, result.error.code) == ("Delete", "Internal")


async def test_a_partial_failure_reports_the_code_of_the_first_message_to_retry() -> None:
    one, two, three, _ = MESSAGES
    failures = [
        BatchFailure(one, "ReceiptHandleIsInvalid", handle_expired=True),
        BatchFailure(two, "InternalError", handle_expired=False),
        BatchFailure(three, "RequestThrottled", handle_expired=False),
    ]
    result = await run_batch_call("Delete", answered(*failures), MESSAGES)
    assert result.error is not None
    assert result.error.code == "InternalError"


async def test_expired_handles_alone_are_no_failure_of_the_call() -> None:
    refused = [
        BatchFailure(each, "ReceiptHandleIsInvalid", handle_expired=True) for each in MESSAGES
    ]
    result = await run_batch_call("Delete", answered(*refused), MESSAGES)
    assert result == BatchCallResult([], MESSAGES, None)


def test_batches_carry_ten_at_most() -> None:
    messages = [MESSAGES[0]] * 25
    assert [len(batch) for batch in in_tens(messages)] == [10, 10, 5]
    assert list(in_tens([])) == []


def test_each_failure_and_the_recovery_are_reported_once() -> None:
    emitted: list[telemetry.TelemetryEvent] = []
    retries = RetryState("Delete", Backoff(1.0, 8.0, lambda _, high: high), emitted.append)
    retries.succeeded()
    assert emitted == []
    assert retries.failed(QueueError("Delete", "Timeout")) == 2.0
    assert retries.failed(QueueRefusedError("Delete", "AccessDenied")) == 8.0
    failing = [retries.failing]
    retries.succeeded()
    retries.succeeded()
    failing.append(retries.failing)
    assert failing == [True, False]
    assert emitted == [
        telemetry.QueueFailed("Delete", "Timeout", refused=False, pause_seconds=2.0),
        telemetry.QueueFailed("Delete", "AccessDenied", refused=True, pause_seconds=8.0),
        telemetry.QueueRecovered("Delete"),
    ]
