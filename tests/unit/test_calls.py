from collections.abc import Sequence
from uuid import UUID

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import Refused
from consumer.pipeline.retrying import Backoff, RetryState, in_tens, run_batch_call
from consumer.telemetry import events as telemetry

MESSAGES = [Message(str(UUID(int=number)), "", "", 0, 1) for number in range(4)]


async def answered(*refused: Refused) -> Sequence[Refused]:
    return refused


async def failed(error: QueueError) -> Sequence[Refused]:
    raise error


async def test_of_a_call_that_worked_all_is_done() -> None:
    answer = await run_batch_call("Delete", answered(), MESSAGES)
    assert (answer.done, answer.void, answer.left, answer.error) == (MESSAGES, (), (), None)


async def test_of_a_call_that_failed_all_is_left() -> None:
    error = QueueError("Delete", "Timeout")
    answer = await run_batch_call("Delete", failed(error), MESSAGES)
    assert (answer.done, answer.void, answer.left, answer.error) == ((), (), MESSAGES, error)


async def test_of_a_call_that_was_refused_in_part_only_what_may_work_yet_is_left() -> None:
    one, two, three, four = MESSAGES
    answer = await run_batch_call(
        "Delete",
        answered(Refused(two, "Void", final=True), Refused(four, "Internal", final=False)),
        MESSAGES,
    )
    assert (answer.done, answer.void, answer.left) == ([one, three], [two], [four])
    assert answer.error is not None
    assert (answer.error.operation, answer.error.code) == ("Delete", "Internal")


async def test_void_handles_alone_are_no_failure_of_the_call() -> None:
    refused = [Refused(each, "Void", final=True) for each in MESSAGES]
    answer = await run_batch_call("Delete", answered(*refused), MESSAGES)
    assert (answer.done, answer.void, answer.left, answer.error) == ([], MESSAGES, [], None)


def test_batches_carry_ten_at_most() -> None:
    messages = [MESSAGES[0]] * 25
    assert [len(batch) for batch in in_tens(messages)] == [10, 10, 5]
    assert list(in_tens([])) == []


def test_tries_tell_each_failure_and_the_end_of_them_once() -> None:
    told: list[telemetry.TelemetryEvent] = []
    tries = RetryState("Delete", Backoff(1.0, 8.0, lambda _, high: high), told.append)
    tries.worked()
    assert told == []
    assert tries.failed(QueueError("Delete", "Timeout")) == 2.0
    assert tries.failed(QueueRefusedError("Delete", "AccessDenied")) == 8.0
    failing = [tries.failing]
    tries.worked()
    tries.worked()
    failing.append(tries.failing)
    assert failing == [True, False]
    assert told == [
        telemetry.QueueFailed("Delete", "Timeout", refused=False, pause_seconds=2.0),
        telemetry.QueueFailed("Delete", "AccessDenied", refused=True, pause_seconds=8.0),
        telemetry.QueueRecovered("Delete"),
    ]
