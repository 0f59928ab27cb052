import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    QueueError,
    QueueRefusedError,
    StatementTooSlowError,
)
from consumer.messages import Message, Outcome, Reason, Row, Written
from consumer.pipeline.limits import PipelineLimits
from consumer.pipeline.pipeline import Pipeline
from consumer.telemetry import events as telemetry
from tests.fakes.database import MemoryDatabase
from tests.fakes.queue import MemoryQueue, unavailable
from tests.fakes.transform import PlainTransform
from tests.fakes.virtual_time import run_virtually

LIMITS = PipelineLimits(
    visibility_seconds=30,
    max_pollers=16,
    max_deleters=16,
    max_extenders=4,
    writers=1,
    max_in_flight_messages=4000,
    max_in_flight_bytes=64 * 1024 * 1024,
    max_batch_rows=1000,
    max_batch_bytes=8 * 1024 * 1024,
    linger_seconds=0.0,
    min_pause_seconds=0.2,
    max_pause_seconds=3.0,
    drain_seconds=10.0,
)


@dataclass
class World:
    queue: MemoryQueue
    database: MemoryDatabase
    limits: PipelineLimits = LIMITS
    events: list[telemetry.TelemetryEvent] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(
            source=self.queue,
            sink=self.database,
            transform=PlainTransform(),
            limits=self.limits,
            emit=self.events.append,
            clock=asyncio.get_running_loop().time,
            uniform=random.Random(1).uniform,  # noqa: S311  # jitter needs no secrecy
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pipeline.run(self.stop))
            yield
            self.stop.set()

    def counted(
        self, kind: type[telemetry.Deleted | telemetry.Released | telemetry.ReceiptHandlesExpired]
    ) -> int:
        return sum(event.count for event in self.events if isinstance(event, kind))


def world(limits: PipelineLimits = LIMITS) -> World:
    return World(MemoryQueue(), MemoryDatabase(), limits)


async def until(condition: Callable[[], object], seconds: float = 300.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the condition is the pipeline's own state
            await asyncio.sleep(0.001)


def test_each_message_is_one_row_or_one_quarantine_row_and_the_queue_ends_empty() -> None:
    async def scenario() -> None:
        w = world()
        sent = w.queue.send("a", "bad", *(str(n) for n in range(500)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert w.database.ledger == set(sent)
        assert len(w.database.rows) == len(sent) - 1
        assert [q.reason for q in w.database.quarantine] == [Reason.NOT_JSON]
        assert telemetry.MessagesQuarantined(Reason.NOT_JSON, 1) in w.events
        assert telemetry.DatabaseRecovered() not in w.events  # it never failed
        assert w.counted(telemetry.Deleted) == len(sent)
        assert w.pipeline.in_flight == 0

    run_virtually(scenario())


def test_a_message_is_deleted_only_after_its_commit() -> None:
    async def scenario() -> None:
        w = world()
        in_database_at_delete: list[bool] = []

        def look(operation: str) -> None:
            if operation == "DeleteMessageBatch":
                in_database_at_delete.append(len(w.database.rows) == 1)

        w.queue.fault = look
        w.queue.send("a")
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert in_database_at_delete == [True]

    run_virtually(scenario())


def test_a_message_that_is_redelivered_while_in_flight_is_written_once_and_deleted() -> None:
    async def scenario() -> None:
        w = world()
        w.database.commit_seconds = 5.0
        (message_id,) = w.queue.send("a")
        async with w.running():
            await until(lambda: w.pipeline.in_flight)
            w.queue.show_again(message_id)
            await until(lambda: not w.queue.remaining)
        assert w.database.batches == [1]
        assert sum(e.redelivered for e in w.events if isinstance(e, telemetry.Received)) == 1

    run_virtually(scenario())


def test_a_message_that_is_redelivered_while_its_delete_is_under_way_is_deleted_once_more() -> None:
    async def scenario() -> None:
        w = world()
        (message_id,) = w.queue.send("a")

        w.queue.slow["DeleteMessageBatch"] = 1.0
        async with w.running():
            await until(lambda: w.queue.count("DeleteMessageBatch"))
            w.queue.show_again(message_id)
            await until(lambda: not w.pipeline.in_flight)
        assert w.queue.remaining == 0
        assert w.queue.count("DeleteMessageBatch") == 2
        assert w.counted(telemetry.Deleted) == 1
        assert w.database.batches == [1]

    run_virtually(scenario())


def test_while_the_database_is_down_messages_stay_hidden_and_none_is_released() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_in_flight_messages=100))

        def down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("08006")

        w.database.fault = down
        w.queue.send(*(str(n) for n in range(500)))
        async with w.running():
            await asyncio.sleep(600.0)
            assert w.pipeline.in_flight == 100
            assert w.queue.hidden == 100
            assert w.queue.count("ReceiveMessage") == 10
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert w.counted(telemetry.Released) == 0
        assert w.counted(telemetry.ReceiptHandlesExpired) == 0
        assert len(w.database.rows) == 500

    run_virtually(scenario())


def test_in_flight_is_bounded_by_bytes() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_in_flight_bytes=5_000_000))

        def down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("57P03")

        w.database.fault = down
        w.queue.send(*(str(n) for n in range(100)), size=100_000)
        async with w.running():
            await asyncio.sleep(60.0)
            assert 4_000_000 <= w.pipeline.in_flight * 100_000 <= 5_000_000
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)

    run_virtually(scenario())


def test_the_rate_of_attempts_is_bounded_while_the_queue_is_down() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(1000)))
        async with w.running():
            await until(lambda: w.pipeline.in_flight > 200)
            w.queue.fault = unavailable
            await asyncio.sleep(20.0)
            settled = len(w.queue.calls)
            await asyncio.sleep(60.0)
            assert (len(w.queue.calls) - settled) / 60.0 <= 5.0
            w.queue.fault = lambda _: None
            healed = asyncio.get_running_loop().time()
            await until(lambda: not w.queue.remaining)
            assert asyncio.get_running_loop().time() - healed < 5.0

    run_virtually(scenario())


def test_a_refusal_by_the_queue_is_reported_as_one_and_its_end_too() -> None:
    async def scenario() -> None:
        w = world()

        def refuse(operation: str) -> None:
            raise QueueRefusedError(operation, "AccessDenied")

        w.queue.fault = refuse
        async with w.running():
            await asyncio.sleep(60.0)
            w.queue.fault = lambda _: None
            w.queue.send("a")
            await until(lambda: not w.queue.remaining)
        failures = [e for e in w.events if isinstance(e, telemetry.QueueFailed)]
        assert all(e.refused and e.code == "AccessDenied" for e in failures)
        assert len(failures) < 60
        assert telemetry.QueueRecovered("ReceiveMessage") in w.events

    run_virtually(scenario())


def test_a_row_that_the_database_refuses_is_quarantined_and_its_neighbours_are_written() -> None:
    async def scenario() -> None:
        w = world()

        def check(batch: Sequence[Outcome]) -> None:
            if any(isinstance(o, Row) and o.message.body in {"3", "77"} for o in batch):
                raise DataRejectedError("23514", "no_such_thing")

        w.database.fault = check
        w.queue.send(*(str(n) for n in range(100)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert len(w.database.rows) == 98
        quarantined = w.database.quarantine
        assert {q.message.body for q in quarantined} == {"3", "77"}
        assert {q.reason for q in quarantined} == {Reason.REJECTED_BY_DATABASE}
        assert {q.field_name for q in quarantined} == {"no_such_thing"}

    run_virtually(scenario())


@pytest.mark.parametrize("sqlstate", ["57014", "TimeoutError"])
def test_a_batch_that_takes_too_long_is_halved_until_it_fits(sqlstate: str) -> None:
    async def scenario() -> None:
        w, clock = world(), asyncio.get_running_loop().time

        def check(batch: Sequence[Outcome]) -> None:
            if len(batch) > 7:
                raise StatementTooSlowError(sqlstate)

        w.database.fault = check
        w.queue.send(*(str(n) for n in range(100)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert len(w.database.rows) == 100
        assert not w.database.quarantine
        # Each slow statement is followed by a pause: it would not be quicker at once.
        failures = [e for e in w.events if isinstance(e, telemetry.WriteFailed)]
        assert {e.sqlstate for e in failures} == {sqlstate}
        assert len(failures) == sum(isinstance(e, telemetry.Bisected) for e in w.events)
        assert clock() >= sum(e.pause_seconds for e in failures)

    run_virtually(scenario())


def test_one_message_that_takes_too_long_stays_in_flight_and_is_retried() -> None:
    async def scenario() -> None:
        w = world()

        def check(_: Sequence[Outcome]) -> None:
            raise StatementTooSlowError("57014")

        w.database.fault = check
        w.queue.send("1")
        async with w.running():
            await asyncio.sleep(100.0)
            assert (w.queue.deleted, w.queue.hidden) == ([], 1)
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert not w.database.quarantine

    run_virtually(scenario())


def test_a_quarantine_row_that_is_refused_stays_in_flight_and_is_retried() -> None:
    async def scenario() -> None:
        w = world()

        def check(_: Sequence[Outcome]) -> None:
            raise DataRejectedError("23514")

        w.database.fault = check
        w.queue.send("bad")
        async with w.running():
            await asyncio.sleep(100.0)
            assert w.queue.deleted == []
            assert w.queue.hidden == 1
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert len(w.database.quarantine) == 1

    run_virtually(scenario())


def test_a_missing_part_of_the_database_costs_no_message_and_is_reported_with_what_to_do() -> None:
    async def scenario() -> None:
        w = world()

        def missing(_: Sequence[Outcome]) -> None:
            raise DatabaseRefusedError("23514", "no partition takes a row")

        w.database.fault = missing
        w.queue.send("a")
        async with w.running():
            await asyncio.sleep(60.0)
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert len(w.database.quarantine) == 0
        failures = [e for e in w.events if isinstance(e, telemetry.WriteFailed)]
        assert failures
        assert all(e.refused and e.advice == "no partition takes a row" for e in failures)
        assert w.events.count(telemetry.DatabaseRecovered()) == 1

    run_virtually(scenario())


def test_a_delete_that_failed_in_part_is_repeated_for_that_part_only() -> None:
    async def scenario() -> None:
        w = world()
        sent = w.queue.send(*(str(n) for n in range(10)))
        w.queue.failing_entries[sent[4]] = ["InternalError", "InternalError"]
        async with w.running():
            await until(lambda: not w.queue.remaining)
        deletes = [c.count for c in w.queue.calls if c.operation == "DeleteMessageBatch"]
        assert deletes == [10, 1, 1]

    run_virtually(scenario())


def test_a_message_whose_handle_expired_is_deleted_when_it_is_redelivered() -> None:
    async def scenario() -> None:
        w = world()
        (message_id,) = w.queue.send("a")
        w.queue.failing_entries[message_id] = ["ReceiptHandleIsInvalid"]
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert w.counted(telemetry.ReceiptHandlesExpired) == 1
        assert len(w.database.rows) == 1
        assert asyncio.get_running_loop().time() > 30.0

    run_virtually(scenario())


def test_an_expired_handle_is_no_loss_where_the_message_was_redelivered_meanwhile() -> None:
    async def scenario() -> None:
        w = world()
        (message_id,) = w.queue.send("a")
        w.queue.failing_entries[message_id] = ["ReceiptHandleIsInvalid"]
        w.queue.slow["DeleteMessageBatch"] = 1.0
        async with w.running():
            await until(lambda: w.queue.count("DeleteMessageBatch"))
            w.queue.show_again(message_id)
            await until(lambda: not w.queue.remaining)
            assert asyncio.get_running_loop().time() < 5.0  # not after the visibility timeout
        assert w.counted(telemetry.ReceiptHandlesExpired) == 0
        assert w.counted(telemetry.Deleted) == 1

    run_virtually(scenario())


def test_a_handle_that_expired_is_not_extended_for_ever() -> None:
    async def scenario() -> None:
        w = world()
        (message_id,) = w.queue.send("a")
        w.queue.failing_entries[message_id] = ["ReceiptHandleIsInvalid"]

        def down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("08006")

        w.database.fault = down
        async with w.running():
            await asyncio.sleep(25.0)
            assert w.queue.count("ChangeMessageVisibilityBatch") == 1
            await asyncio.sleep(35.0)
            assert w.pipeline.in_flight == 1
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert len(w.database.rows) == 1

    run_virtually(scenario())


def test_an_idle_queue_costs_one_call_per_wait_time() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(2000)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
            await asyncio.sleep(100.0)
            calls = len(w.queue.calls)
            await asyncio.sleep(3600.0)
            assert len(w.queue.calls) - calls in {179, 180}

    run_virtually(scenario())


def test_a_backlog_is_read_by_many_pollers_and_deleted_in_full_batches() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(5_000)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert max(e.count for e in w.events if isinstance(e, telemetry.PollersChanged)) == 16
        calls = [c for c in w.queue.calls if c.operation != "ChangeMessageVisibilityBatch"]
        assert len(calls) <= 5_000 / 10 * 2.2

    run_virtually(scenario())


def test_no_more_deletes_are_open_at_a_time_than_the_limit() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_deleters=3))
        w.queue.slow["DeleteMessageBatch"] = 5.0
        w.queue.send(*(str(n) for n in range(500)))
        async with w.running():
            await asyncio.sleep(9.0)  # the first call is over, the following ones are not
            assert w.queue.count("DeleteMessageBatch") == 1 + 3
            await until(lambda: not w.queue.remaining)

    run_virtually(scenario())


def test_at_low_load_a_message_is_committed_and_deleted_at_once() -> None:
    async def scenario() -> None:
        w = world()
        async with w.running():
            await asyncio.sleep(5.0)
            w.queue.send("a")
            await until(lambda: not w.queue.remaining)
            assert asyncio.get_running_loop().time() < 5.1

    run_virtually(scenario())


def test_a_linger_waits_for_more_but_no_longer_than_asked() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, linger_seconds=1.0))
        async with w.running():
            w.queue.send("a")
            await asyncio.sleep(0.5)
            w.queue.send("b")
            await until(lambda: not w.queue.remaining)
            assert asyncio.get_running_loop().time() < 1.1
        assert w.database.batches == [2]

    run_virtually(scenario())


def test_at_a_stop_an_open_poll_finishes_and_its_messages_are_written() -> None:
    async def scenario() -> None:
        w = world()
        async with w.running():
            await asyncio.sleep(1.0)
            w.stop.set()
            await asyncio.sleep(1.0)
            w.queue.send("a")
        assert len(w.database.rows) == 1
        assert w.queue.remaining == 0
        assert w.queue.count("ReceiveMessage") == 1

    run_virtually(scenario())


def test_messages_stay_hidden_until_the_drain_is_over() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, drain_seconds=60.0))
        w.database.commit_seconds = 50.0
        w.queue.send("a")
        async with w.running():
            await until(lambda: w.pipeline.in_flight)
            w.stop.set()
            await asyncio.sleep(48.0)
            assert w.queue.hidden == 1
            assert telemetry.Stopping(in_flight=1) in w.events
        assert w.queue.remaining == 0

    run_virtually(scenario())


def test_stopping_releases_what_cannot_be_committed_in_time() -> None:
    async def scenario() -> None:
        w = world()

        def down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("08006")

        w.database.fault = down
        w.queue.send(*(str(n) for n in range(25)))
        async with w.running():
            await until(lambda: w.pipeline.in_flight == 25)
        assert w.queue.hidden == 0
        assert w.queue.remaining == 25
        assert w.events[-1] == telemetry.Stopped(released=25)

    run_virtually(scenario())


def test_stopping_while_the_queue_is_down_ends_all_the_same() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send("a")
        async with w.running():
            await until(lambda: w.pipeline.in_flight)
            w.queue.fault = unavailable
        assert asyncio.get_running_loop().time() < 60.0
        assert w.events[-1] == telemetry.Stopped(released=0)

    run_virtually(scenario())


def test_cancelling_the_run_ends_it_at_once() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send("a")
        run = asyncio.create_task(w.pipeline.run(w.stop))
        await until(lambda: w.pipeline.in_flight)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.get_running_loop().time() < 1.0

    run_virtually(scenario())


def test_the_longest_poll_is_known_to_the_watchdog() -> None:
    async def scenario() -> None:
        w = world()
        async with w.running():
            await asyncio.sleep(19.0)
            assert 18.9 < w.pipeline.longest_poll_seconds() <= 19.0
            await asyncio.sleep(2.0)
            assert w.pipeline.longest_poll_seconds() < 2.0

    run_virtually(scenario())


def test_of_several_open_polls_the_longest_is_the_one_that_began_first() -> None:
    async def scenario() -> None:
        w = world()
        async with w.running():
            w.queue.send(*(str(n) for n in range(20)))  # full receives: several pollers
            await asyncio.sleep(15.0)
            w.queue.send("one poll ends, and another begins")
            await asyncio.sleep(1.0)
            assert w.pipeline.longest_poll_seconds() > 15.9

    run_virtually(scenario())


class RunsAndTurns(PlainTransform):
    """Notes how many messages each call takes, and each turn of the event loop after one."""

    def __init__(self) -> None:
        self.noted: list[int | str] = []

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        self.noted.append(len(messages))
        asyncio.get_running_loop().call_soon(self.noted.append, "turn")
        return super().each(messages)


@pytest.mark.parametrize(
    ("size", "noted"),
    [
        (4 * 1024, [8, "turn"]),
        (4 * 1024 + 1, [7, "turn", 1, "turn"]),
        (20 * 1024, [1, "turn"] * 8),
    ],
)
def test_others_have_a_turn_after_each_32_kib_of_a_batch(
    size: int, noted: Sequence[int | str]
) -> None:
    async def scenario() -> None:
        w = world()
        transform = RunsAndTurns()
        w.pipeline.transform_with(transform)
        w.queue.send(*(str(n) for n in range(8)), size=size)
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert transform.noted == noted
        assert w.database.batches == [8]

    run_virtually(scenario())


def test_others_have_a_turn_after_150_small_messages_of_a_batch() -> None:
    async def scenario() -> None:
        w = world()
        transform = RunsAndTurns()
        w.pipeline.transform_with(transform)
        w.database.commit_seconds = 60.0  # while the first message is written, the rest arrives
        w.queue.send("first")
        async with w.running():
            await until(lambda: w.pipeline.in_flight)
            w.queue.send(*(str(n) for n in range(400)))
            await until(lambda: not w.queue.remaining)
        assert transform.noted == [1, "turn", 150, "turn", 150, "turn", 100, "turn"]
        assert w.database.batches == [1, 400]

    run_virtually(scenario())


@pytest.mark.parametrize("writers", [1, 4])
def test_several_writers_write_each_message_once(writers: int) -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, writers=writers, max_batch_rows=50))
        sent = w.queue.send(*(str(n) for n in range(2000)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert sum(w.database.batches) == len(sent) == len(w.database.rows)

    run_virtually(scenario())


def test_a_queue_error_has_operation_and_code_and_no_more() -> None:
    assert str(QueueError("ReceiveMessage", "Timeout")) == "ReceiveMessage: Timeout"


def test_after_a_backlog_one_poller_is_left_and_a_trickle_keeps_it_at_one() -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(2000)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
            await asyncio.sleep(60.0)
            pollers = [e.count for e in w.events if isinstance(e, telemetry.PollersChanged)]
            assert max(pollers) > 1
            assert pollers[-1] == 1
            seen = len(w.events)
            for number in range(100):
                w.queue.send(str(number))
                await asyncio.sleep(0.5)
            assert not any(isinstance(e, telemetry.PollersChanged) for e in w.events[seen:])

    run_virtually(scenario())


def test_a_trickle_that_follows_a_backlog_at_once_leaves_one_poller() -> None:
    # Sixteen pollers would share it for ever, one message a call: none of them is ever empty.
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(2000)))
        async with w.running():
            await until(lambda: len(w.queue.deleted) > 1000)
            for number in range(600):
                w.queue.send(str(number))
                await asyncio.sleep(0.1)
            pollers = [e.count for e in w.events if isinstance(e, telemetry.PollersChanged)]
        assert max(pollers) == 16
        assert pollers[-1] == 1 or pollers[-2] == 1  # the last change may be the stop's
        seconds = [call.at for call in w.queue.calls if call.operation == "ReceiveMessage"]
        assert sum(at > seconds[-1] - 30 for at in seconds) < 330

    run_virtually(scenario())


@pytest.mark.parametrize(("received", "pollers"), [(4, 1), (5, 16)])
def test_a_receive_ends_its_poller_unless_it_is_half_full(received: int, pollers: int) -> None:
    async def scenario() -> None:
        w = world()
        w.queue.send(*(str(n) for n in range(2000)))
        async with w.running():
            await until(lambda: len(w.queue.deleted) > 1000)
            for _ in range(100):
                w.queue.send(*["{}"] * received)
                await asyncio.sleep(0.1)
            changes = [e.count for e in w.events if isinstance(e, telemetry.PollersChanged)]
        assert changes[-1] == pollers

    run_virtually(scenario())


@pytest.mark.parametrize("limits", [{"max_in_flight_messages": 10}, {"max_in_flight_bytes": 2000}])
def test_a_stop_ends_pollers_that_wait_for_room_while_the_database_is_down(
    limits: dict[str, int],
) -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, **limits))

        def is_down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("08006")

        w.database.fault = is_down
        w.queue.send(*(str(n) for n in range(100)), size=300)
        clock = asyncio.get_running_loop().time
        async with w.running():
            await until(lambda: w.queue.hidden >= 6)
            await asyncio.sleep(60.0)
            stopped_at = clock()
        assert clock() - stopped_at < LIMITS.drain_seconds + 1
        assert w.queue.hidden == 0

    run_virtually(scenario())


def test_a_body_larger_than_the_bound_of_bytes_in_flight_passes_all_the_same() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_in_flight_bytes=1000, max_batch_bytes=1000))
        w.queue.send("a", "b", size=50_000)
        async with w.running():
            await until(lambda: not w.queue.remaining)
        assert w.database.batches == [1, 1]

    run_virtually(scenario())


def test_while_the_database_is_down_what_is_committed_is_deleted_and_the_rest_extended() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_in_flight_messages=40))
        w.queue.fault = lambda operation: (
            unavailable(operation) if operation == "DeleteMessageBatch" else None
        )
        w.queue.send(*(str(n) for n in range(20)))

        def down(_: Sequence[Outcome]) -> None:
            raise DatabaseError("57P01")

        async with w.running():
            await until(lambda: len(w.database.rows) == 20)
            w.database.fault = down
            w.queue.send(*(str(n) for n in range(100)))
            await asyncio.sleep(300.0)
            assert w.pipeline.in_flight == 40
            receives = w.queue.count("ReceiveMessage")
            w.queue.fault = lambda _: None
            await until(lambda: len(w.queue.deleted) == 20)
            await asyncio.sleep(300.0)
            assert w.pipeline.in_flight == 40  # the room that the deletes made is filled
            assert w.queue.count("ReceiveMessage") <= receives + 3
            assert w.queue.hidden == 40
            w.database.fault = lambda _: None
            await until(lambda: not w.queue.remaining)
        assert w.counted(telemetry.ReceiptHandlesExpired) == w.counted(telemetry.Released) == 0
        assert len(w.database.rows) == 120

    run_virtually(scenario())


def test_the_heartbeat_goes_on_until_the_last_delete_even_after_a_stop() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, drain_seconds=200.0))
        w.queue.slow["DeleteMessageBatch"] = 100.0
        (message_id,) = w.queue.send("a")
        async with w.running():
            await until(lambda: w.queue.count("DeleteMessageBatch"))
            w.stop.set()
            await asyncio.sleep(95.0)
            assert w.queue.hidden == 1
        assert w.queue.deleted == [message_id]
        assert w.queue.count("ChangeMessageVisibilityBatch") >= 6
        assert w.queue.count("ReceiveMessage") <= 2

    run_virtually(scenario())


def test_polls_that_wait_for_messages_hold_up_no_delete() -> None:
    async def scenario() -> None:
        w = world(replace(LIMITS, max_pollers=1))
        w.queue.send(*(str(n) for n in range(10)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
            assert asyncio.get_running_loop().time() < 1.0
            assert w.pipeline.longest_poll_seconds() > 0

    run_virtually(scenario())


def test_a_commit_that_was_made_although_it_failed_is_made_again_as_duplicates() -> None:
    async def scenario() -> None:
        lost = True

        class AnswerLost(MemoryDatabase):
            async def write(self, batch: Sequence[Outcome]) -> Written:
                nonlocal lost
                written = await super().write(batch)
                if lost:
                    lost = False
                    raise DatabaseError("08006")
                return written

        w = World(MemoryQueue(), AnswerLost())
        w.queue.send(*(str(n) for n in range(5)))
        async with w.running():
            await until(lambda: not w.queue.remaining)
        committed = [e for e in w.events if isinstance(e, telemetry.Committed)]
        assert [(e.rows, e.duplicates) for e in committed] == [(0, 5)]
        assert len(w.database.rows) == 5
        assert w.counted(telemetry.Deleted) == 5

    run_virtually(scenario())
