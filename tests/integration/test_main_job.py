"""The main job, end to end: real processes between SQS over HTTP and a real PostgreSQL.

The promises by their names: I1 a valid message is one row, I2 an invalid one is one quarantine
row, I3 nothing else appears or disappears, I4 the queue ends empty with nothing in flight, I5
deleted implies committed, I6 nothing raw anywhere.
"""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from consumer.messages import Reason
from consumer.postgres.connection import ConnectionSettings, connected
from devkit.postgres import PostgresServer
from devkit.sqs import (
    DeliverTwice,
    Disconnect,
    InjectedFault,
    Request,
    SqsServer,
)
from tests.consumers import Place, Running, place
from tests.feeds import FEEDS, OURS
from tests.integration.postgres.relay import Relay
from tests.waiting import eventually
from tests.written import assert_written, everything_in

_LOGINS = OURS.read_text().splitlines()
_DEADLINE_SECONDS = 60.0


def logins(count: int) -> list[str]:
    """Login events, each one's user numbered, so that no two are equal; one in 100 is another's."""
    return [
        _LOGINS[number % 100].replace('"user_id": "', f'"user_id": "{number}-')
        for number in range(count)
    ]


def only(
    operation: str, fault: InjectedFault, times: int | None = None
) -> Callable[[Request], InjectedFault | None]:
    """A fault that befalls the first so many calls of an operation, or all of them."""
    left = times

    def placed(request: Request) -> InjectedFault | None:
        nonlocal left
        if request.operation != operation or left == 0:
            return None
        if left is not None:
            left -= 1
        return fault

    return placed


async def column_to_integer(dsn: str) -> None:
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.execute(
            "ALTER TABLE user_logins ALTER COLUMN app_version TYPE integer USING NULL"
        )


async def count_in(dsn: str, table: str) -> int:
    async with connected(ConnectionSettings(dsn)) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 of this file


async def scraped(running: Running) -> dict[str, float]:
    """The metrics' values by name and labels."""
    port = (await running.logged("listening"))["port"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.text()
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


@pytest.mark.parametrize("feed", FEEDS, ids=lambda path: path.parent.parent.name)
@pytest.mark.parametrize("form", ["text", "integer"])
async def test_the_feed_is_99_rows_and_one_in_quarantine_however_often_it_is_sent(
    here: Place, form: str, feed: Path
) -> None:
    if form == "integer":
        await column_to_integer(here.dsn)
    talkative = here.consumer.but(CONSUMER_LOGS__LEVEL="debug")
    sent = []
    written = []
    for _ in range(2):
        sent += here.send(*bodies_of(feed))
        drained = await talkative.run("drain")
        written.append(drained.out + drained.err)
        assert drained.code == 0, drained.err
        assert drained.counts.pop("seconds") > 0
        assert (
            drained.counts.items()
            >= {
                "received": 100,
                "written": 99,
                "duplicate": 0,
                "quarantined": 1,
                "deleted": 100,
                "damaged": 0,
            }.items()
        )
        assert here.is_clean()
        await assert_written(here.dsn, here.ring_json, sent)
    assert await count_in(here.dsn, "user_logins") == 198
    assert await count_in(here.dsn, "consumer.quarantine") == 2
    everything = "\n".join([*written, await everything_in(here.dsn)])
    assert [raw for raw in raw_values(feed) if raw in everything] == []


def bodies_of(feed: Path) -> list[str]:
    return feed.read_text().splitlines()


def raw_values(feed: Path) -> set[str]:
    events = [json.loads(body) for body in bodies_of(feed)]
    return {event[name] for event in events for name in ("ip", "device_id") if name in event}


async def test_killed_between_the_commit_and_the_delete_nothing_is_lost_or_doubled(
    here: Place,
) -> None:
    sent = here.send(*logins(200))
    here.sqs.fault_for = only("DeleteMessageBatch", Disconnect())
    async with here.consumer.running("run") as running:

        async def all_committed() -> bool:
            return await count_in(here.dsn, "consumer.ledger") == 200

        await eventually(all_committed, within_seconds=_DEADLINE_SECONDS)
        running.process.kill()
        assert (await running.ended()).code == -signal.SIGKILL
    assert len(here.messages()) == 200
    here.sqs.fault_for = None
    here.sqs.advance(60)
    drained = await here.consumer.run("drain")
    assert (drained.counts["written"], drained.counts["quarantined"]) == (0, 0)
    assert drained.counts["duplicate"] == drained.counts["deleted"] == 200
    assert here.is_clean()
    await assert_written(here.dsn, here.ring_json, sent)


async def test_a_message_that_comes_twice_at_once_is_one_row(here: Place) -> None:
    sent = here.send(*logins(100))
    here.sqs.fault_for = only("ReceiveMessage", DeliverTwice(), 8)
    drained = await here.consumer.run("drain")
    counts = drained.counts
    assert counts["received"] > counts["deleted"] == 100
    assert counts["duplicate"] == counts["received"] - 100
    assert here.is_clean()
    await assert_written(here.dsn, here.ring_json, sent)


async def test_two_consumers_that_get_the_same_messages_write_each_once(here: Place) -> None:
    sent = here.send(*logins(1000))
    here.sqs.fault_for = only("ReceiveMessage", DeliverTwice(), 60)
    one, other = await asyncio.gather(here.consumer.run("drain"), here.consumer.run("drain"))
    assert one.code == other.code == 0
    assert one.counts["written"] + other.counts["written"] == 990
    assert one.counts["quarantined"] + other.counts["quarantined"] == 10
    await assert_written(here.dsn, here.ring_json, sent)
    assert here.is_clean()


async def test_stopped_under_load_it_leaves_nothing_in_flight_and_deletes_only_what_is_committed(
    here: Place,
) -> None:
    sent = here.send(*logins(5000))
    quick = here.consumer.but(CONSUMER_SQS__WAIT_SECONDS="1")
    async with quick.running("run") as running:
        await eventually(lambda: len(here.messages()) < 5000, within_seconds=_DEADLINE_SECONDS)
        ended = await running.stopped()
    assert ended.code == 0, ended.err
    left = {message.message_id for message in here.messages()}
    assert here.queue.in_flight == 0
    assert 0 < len(left) == here.queue.visible
    await assert_written(
        here.dsn, here.ring_json, [each for each in sent if each.message_id not in left]
    )


async def test_the_database_stopped_and_started_under_load_costs_nothing(
    own_postgres_server: PostgresServer,
    own_database: str,
    sqs: SqsServer,
    key_ring_json: str,
    tmp_path: Path,
) -> None:
    here = place(sqs, own_database, key_ring_json, tmp_path)
    sent = here.send(*logins(3000))
    quick = here.consumer.but(CONSUMER_SQS__WAIT_SECONDS="1")
    async with quick.running("run") as running:
        await eventually(lambda: len(here.messages()) < 3000, within_seconds=_DEADLINE_SECONDS)
        own_postgres_server.stop("immediate")
        await running.logged("write failed")
        assert here.queue.in_flight > 0
        own_postgres_server.start_again()
        await eventually(here.is_clean, within_seconds=_DEADLINE_SECONDS)
        metrics = await scraped(running)
        ended = await running.stopped()
    assert ended.code == 0, ended.err
    assert metrics["consumer_messages_released_total"] == 0
    await assert_written(own_database, key_ring_json, sent)


async def test_answers_that_are_lost_cost_nothing(here: Place) -> None:
    sent = here.send(*logins(300))
    lost = {"ReceiveMessage": 3, "DeleteMessageBatch": 5}

    def lose_the_first(request: Request) -> InjectedFault | None:
        if not lost.get(request.operation):
            return None
        lost[request.operation] -= 1
        return Disconnect(after_acting=True)

    here.sqs.fault_for = lose_the_first
    quick = here.consumer.but(CONSUMER_SQS__WAIT_SECONDS="1")
    async with quick.running("run") as running:
        await eventually(
            lambda: not any(lost.values()) and len(here.messages()) <= 30,
            within_seconds=_DEADLINE_SECONDS,
        )
        # What the lost receives hid is redelivered after the visibility timeout.
        here.sqs.advance(60)
        await eventually(here.is_clean, within_seconds=_DEADLINE_SECONDS)
        assert (await running.stopped()).code == 0
    await assert_written(here.dsn, here.ring_json, sent)


async def test_a_commit_whose_answer_is_lost_is_made_again_and_changes_nothing(
    sqs: SqsServer, database: str, key_ring_json: str, tmp_path: Path
) -> None:
    async with Relay(database).running() as relay:
        here = place(sqs, relay.dsn, key_ring_json, tmp_path)
        hurried = here.consumer.but(
            CONSUMER_SQS__WAIT_SECONDS="1", CONSUMER_POSTGRES__STATEMENT_TIMEOUT_SECONDS="2"
        )
        async with hurried.running("run") as running:
            await running.logged("consuming")
            sent = here.send(*logins(20))
            await eventually(here.is_clean, within_seconds=_DEADLINE_SECONDS)
            relay.swallow_answers()
            sent += here.send(*logins(100))

            async def some_committed() -> bool:
                return await count_in(database, "consumer.ledger") > 20

            await eventually(some_committed, within_seconds=_DEADLINE_SECONDS)
            await running.logged("write failed")
            committed = await count_in(database, "consumer.ledger") - 20
            await eventually(lambda: here.queue.in_flight == 100, within_seconds=_DEADLINE_SECONDS)
            relay.speak()
            await eventually(here.is_clean, within_seconds=_DEADLINE_SECONDS)
            metrics = await scraped(running)
            assert (await running.stopped()).code == 0
    assert metrics["consumer_messages_duplicate_total"] == committed
    await assert_written(database, key_ring_json, sent)


_MIB = 1024 * 1024
_LOGIN = json.loads(_LOGINS[0])


def spoiled(**changes: object) -> str:
    return json.dumps(_LOGIN | changes)


def hostile() -> dict[str, tuple[Reason, str | None]]:
    """Bodies, each with why it is in quarantine and which field is at fault."""
    without_ip = {name: value for name, value in _LOGIN.items() if name != "ip"}
    return {
        "nonsense": (Reason.NOT_JSON, None),
        '{"user_id": ': (Reason.NOT_JSON, None),
        '{"user_id": NaN}': (Reason.NOT_JSON, None),
        "[" * 40_000: (Reason.NOT_JSON, None),
        "[" * _MIB: (Reason.INVALID_VALUE, None),
        "[1, 2]": (Reason.NOT_AN_OBJECT, None),
        "9" * 100_000: (Reason.NOT_JSON, None),
        '"' + "x" * (_MIB - 2) + '"': (Reason.NOT_AN_OBJECT, None),
        '{"foo": "oops_wrong_msg_type", "bar": "123"}': (Reason.OTHER_EVENT, None),
        json.dumps(without_ip): (Reason.MISSING_FIELD, "ip"),
        spoiled(user_id=7): (Reason.WRONG_TYPE, "user_id"),
        spoiled(app_version=True): (Reason.WRONG_TYPE, "app_version"),
        spoiled(user_id=int("9" * 4000)): (Reason.WRONG_TYPE, "user_id"),
        spoiled(user_id="u" * 129): (Reason.TOO_LONG, "user_id"),
        spoiled(device_id="d" * 160): (Reason.TOO_LONG, "device_id"),
        spoiled(device_id="d" * 900_000): (Reason.TOO_LONG, "device_id"),
        spoiled(locale="\0"): (Reason.NOT_STORABLE, "locale"),
        spoiled(device_id="\ud800"): (Reason.NOT_STORABLE, "device_id"),
        spoiled(ip="1.2.3.256"): (Reason.BAD_ADDRESS, "ip"),
        spoiled(ip="199.172.111.135\n"): (Reason.BAD_ADDRESS, "ip"),
    }


async def test_hostile_bodies_are_quarantined_once_and_can_be_unsealed(here: Place) -> None:
    expected = hostile()
    sent = here.send(*expected, *logins(3))
    here.sqs.fault_for = only("ReceiveMessage", DeliverTwice(), 3)
    talkative = here.consumer.but(CONSUMER_LOGS__LEVEL="debug")
    drained = await talkative.run("drain")
    assert (drained.counts["quarantined"], drained.counts["written"]) == (len(expected), 3)
    assert here.is_clean()
    await assert_written(here.dsn, here.ring_json, sent)  # unseals each
    body_of = {message.message_id: message.body for message in sent}
    async with connected(ConnectionSettings(here.dsn)) as connection:
        rows = await connection.fetch("SELECT * FROM consumer.quarantine")
    found = {body_of[str(row["message_id"])]: (row["reason"], row["field_name"]) for row in rows}
    assert found == expected
    assert "1.2.3.256" not in drained.out + drained.err + await everything_in(here.dsn)


async def test_the_metrics_of_a_running_service_add_up(here: Place) -> None:
    quick = here.consumer.but(CONSUMER_SQS__WAIT_SECONDS="1")
    here.sqs.fault_for = only("ReceiveMessage", DeliverTwice(), 4)
    here.send(*logins(300), "nonsense")
    async with quick.running("run") as running:
        await eventually(
            lambda: here.sqs.calls["DeleteMessageBatch"] > 0 and here.is_clean(),
            within_seconds=_DEADLINE_SECONDS,
        )
        port = (await running.logged("listening"))["port"]
        assert [await status_of(port, path) for path in ("healthz", "readyz")] == [200, 200]

        async def all_deleted() -> bool:
            return (await scraped(running))["consumer_messages_deleted_total"] == 301

        await eventually(all_deleted, within_seconds=_DEADLINE_SECONDS)
        metrics = await scraped(running)
        ended = await running.stopped()
    assert ended.code == 0
    quarantined = {
        name: value
        for name, value in metrics.items()
        if name.startswith("consumer_messages_quarantined_total{") and value
    }
    assert quarantined == {
        'consumer_messages_quarantined_total{reason="other_event"}': 3,
        'consumer_messages_quarantined_total{reason="not_json"}': 1,
    }
    written = metrics["consumer_messages_written_total"]
    duplicate = metrics["consumer_messages_duplicate_total"]
    assert written == 297
    assert duplicate > 0
    assert metrics["consumer_messages_received_total"] == written + duplicate + 4
    assert metrics["consumer_messages_in_flight"] == 0
    assert metrics["consumer_batch_rows_sum"] == metrics["consumer_sent_to_commit_seconds_count"]
    assert metrics["consumer_batch_rows_count"] == metrics["consumer_commit_seconds_count"] > 0
    totals = await running.logged("ended")
    assert totals.items() >= {"written": 297, "quarantined": 4, "deleted": 301}.items()
    assert totals["duplicate"] == duplicate
    raw = [each for each in raw_values(OURS) if each in ended.err or each in str(metrics)]
    assert raw == []


async def status_of(port: object, path: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/{path}") as answer,
    ):
        return answer.status
