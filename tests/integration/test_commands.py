"""The commands, each as a process at least once, between a real queue and a real database."""

import asyncio
import csv
import io
import json
import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.key_registry import register_fingerprints
from devkit.sqs import Delay, Request, SqsServer
from tests.consumers import Place, place
from tests.feeds import OURS
from tests.waiting import eventually

_FEED = OURS.read_bytes()
_DEADLINE_SECONDS = 60.0


async def execute(dsn: str, statement: str) -> None:
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.execute(statement)


@pytest.mark.parametrize(
    ("command", "statement", "variables", "line"),
    [
        ("run", "", {"CONSUMER_MASKING__KEYRING": ""}, r"masking\.keyring_file is not set: set .*"),
        (
            "run",
            "",
            {"CONSUMER_SQS__QUEUE_URL": "{}x"},
            r".*QueueDoesNotExist \(create the queue.*",
        ),
        (
            "drain",
            "DROP TABLE user_logins CASCADE",
            {},
            r".*user_logins is missing: run `consumer m.*",
        ),
        (
            "drain",
            "ALTER TABLE user_logins DROP locale",
            {},
            r".*locale is missing: add it: varch.*",
        ),
    ],
    ids=["key ring", "queue", "table", "column"],
)
async def test_what_is_missing_is_refused_at_the_start_with_one_clear_line(
    here: Place, command: str, statement: str, variables: dict[str, str], line: str
) -> None:
    if statement:
        await execute(here.dsn, statement)
    here.send("{}")
    changed = {name: text.format(here.queue_url) for name, text in variables.items()}
    ended = await here.consumer.but(**changed).run(command)
    assert ended.code == 1
    errors = [each for each in ended.err.splitlines() if not each.startswith("{")]
    assert len(errors) == 1
    assert re.fullmatch(f"Error: {line}", errors[0])
    assert ended.out == ""
    assert (here.queue.visible, here.queue.in_flight) == (1, 0)


async def test_check_has_a_line_for_each_thing_and_says_what_to_do(here: Place) -> None:
    good = await here.consumer.run("check")
    assert good.code == 0
    lines = good.out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for what in (
        "settings",
        "model: consumer.events.user_login:UserLogin, from ",
        "key ring: k1",
        "queue: visibility timeout 30 s",
        "schema consumer",
    ):
        assert sum(what in line for line in lines) == 1
    for column in ("user_id", "masked_ip", "masked_device_id", "app_version", "create_date"):
        assert sum(f"user_logins.{column}:" in line for line in lines) == 1
    await execute(here.dsn, "DROP TABLE user_logins CASCADE")
    bad = await here.consumer.but(CONSUMER_SQS__QUEUE_URL=f"{here.queue_url}x").run_here("check")
    assert bad.code == 1
    failures = [line for line in bad.out.splitlines() if line.startswith("FAIL")]
    assert len(failures) == 2
    assert "create the queue" in failures[0]
    assert "run `consumer migrate`" in failures[1]


async def test_check_goes_on_after_a_failure_and_shows_no_password(
    here: Place, unused_tcp_port: int
) -> None:
    dsn = f"postgresql://someone:hush-8472@127.0.0.1:{unused_tcp_port}/logins"
    other_ring = KeyRing.generate("k1", os.urandom).to_json()
    key = json.loads(other_ring)["keys"]["k1"]["key"]
    down = here.consumer.but(CONSUMER_POSTGRES__DSN=dsn, CONSUMER_MASKING__KEYRING=other_ring)
    ended = await down.run_here("check")
    assert ended.code == 1
    assert [line[:4].strip() for line in ended.out.splitlines()] == ["ok", "ok", "ok", "ok", "FAIL"]
    assert "can be reached from here" in ended.out
    for secret in ("hush-8472", dsn, key):
        assert secret not in ended.out + ended.err


async def test_check_finds_another_key_under_a_known_name(here: Place) -> None:
    async with connected(ConnectionSettings(here.dsn)) as connection:
        await register_fingerprints(connection, KeyRing.parse(here.ring_json).fingerprints())
    other = here.consumer.but(
        CONSUMER_MASKING__KEYRING=KeyRing.generate("k1", os.urandom).to_json()
    )
    checked, started = await asyncio.gather(other.run_here("check"), other.run("drain"))
    assert (checked.code, started.code) == (1, 1)
    assert re.search(
        "^FAIL .*k1 is not the key that this database knows", checked.out, re.MULTILINE
    )
    assert re.search("^Error: .*k1 is not the key that this database", started.err, re.MULTILINE)


async def test_send_takes_standard_input_ten_at_a_time_and_leaves_out_empty_lines(
    here: Place,
) -> None:
    ended = await here.consumer.run("send", "-", stdin=b"\n" + _FEED + b"\r\n  \n")
    assert (ended.code, ended.out, ended.err) == (0, "", "100 messages sent\n")
    assert here.sqs.calls["SendMessageBatch"] == 10
    assert sorted(each.body for each in here.messages()) == sorted(_FEED.decode().splitlines())


async def test_send_that_fails_midway_tells_how_much_it_sent(here: Place) -> None:
    ended = await here.consumer.run("send", "-", stdin=_FEED + b"\xff\n")
    assert ended.code == 1
    assert ended.err == "80 messages sent before the failure\nError: line 101 is not UTF-8\n"
    assert len(here.messages()) == 80


async def test_send_keeps_the_order_on_a_fifo_queue_and_sends_the_same_file_again(
    sqs: SqsServer, database: str, key_ring_json: str, tmp_path: Path
) -> None:
    here = place(
        sqs, database, key_ring_json, tmp_path, name="logins.fifo", attributes={"FifoQueue": "true"}
    )
    for _ in range(2):
        assert (await here.consumer.run_here("send", str(OURS))).code == 0
    assert [each.body for each in here.messages()] == _FEED.decode().splitlines() * 2


async def test_send_says_once_what_is_wrong(here: Place) -> None:
    gone = here.consumer.but(CONSUMER_SQS__QUEUE_URL=f"{here.queue_url}x")
    ended = await gone.run_here("send", str(OURS))
    assert ended.code == 1
    assert ended.err == (
        "Error: SendMessageBatch: QueueDoesNotExist (create the queue, or correct sqs.queue_url)\n"
    )


async def test_drain_on_a_terminal_shows_a_bar_and_the_counts_alone_on_standard_output(
    here: Place,
) -> None:
    here.send(*_FEED.decode().splitlines())
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "drain"),
        cwd=here.consumer.folder,
        env={"PATH": os.environ["PATH"], **here.consumer.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    reading = asyncio.create_task(asyncio.to_thread(_all_of, master))
    async with asyncio.timeout(_DEADLINE_SECONDS):
        out, _ = await process.communicate()
        shown = await reading
    assert process.returncode == 0
    assert json.loads(out)["deleted"] == 100
    assert re.search(r"\[#*-*\] \d+ of 100", shown)
    assert shown.endswith("\r\x1b[K")


def _all_of(terminal: int) -> str:
    """What is written to a terminal until its last writer has gone."""
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:
        pass  # this is how Linux tells it
    os.close(terminal)
    return b"".join(parts).decode()


async def test_export_writes_the_masked_table_to_standard_output_or_to_a_whole_file(
    here: Place,
) -> None:
    await execute(
        here.dsn,
        "INSERT INTO user_logins SELECT n, 'ios', 'k1.' || n, 'k1.' || n, NULL, '2.3', 'today'"
        " FROM generate_series(1, 99) AS n",
    )
    path = here.consumer.folder / "masked_user_logins.csv"
    to_stdout = await here.consumer.run("export")
    to_file = await here.consumer.run_here("export", "--output", str(path))
    assert (to_stdout.err, to_file.err, to_file.out) == ("99 rows\n", "99 rows\n", "")
    text = path.read_text()
    assert text == to_stdout.out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 99
    assert list(rows[0]) == [
        "user_id",
        "device_type",
        "masked_ip",
        "masked_device_id",
        "locale",
        "app_version",
        "create_date",
    ]
    assert all(row["masked_ip"].startswith("k1.") for row in rows)
    await execute(here.dsn, "DROP TABLE user_logins CASCADE")
    other = here.consumer.folder / "another.csv"
    assert (await here.consumer.run_here("export", "--output", str(other))).code == 1
    assert list(here.consumer.folder.iterdir()) == [path]


async def test_several_that_migrate_at_once_do_it_once(
    sqs: SqsServer, empty_database: str, key_ring_json: str, tmp_path: Path
) -> None:
    here = place(sqs, empty_database, key_ring_json, tmp_path)
    all_ended = await asyncio.gather(*(here.consumer.run("migrate") for _ in range(3)))
    assert [ended.code for ended in all_ended] == [0, 0, 0]
    first, *others = sorted(all_ended, key=lambda ended: ended.out == "nothing to do\n")
    assert "created schema consumer" in first.out
    assert "created table user_logins" in first.out
    assert {ended.out for ended in others} == {"nothing to do\n"}
    assert (await here.consumer.run_here("check")).code == 0


async def test_a_token_is_recovered_audited_and_the_record_holds(here: Place) -> None:
    mask = masks_of(UserLogin, KeyRing.parse(here.ring_json))["masked_device_id"]
    token = mask("593-47-5928")
    assert token is not None
    recovered = await here.consumer.run("recover", token, "--reason", "ticket 8472")
    assert (recovered.code, recovered.out) == (0, "593-47-5928\n")
    verified = await here.consumer.run_here("audit", "verify")
    assert verified.code == 0
    assert "the chain holds" in verified.err


async def test_settings_come_from_the_file_that_config_names(here: Place) -> None:
    file = here.consumer.folder / "staging.toml"
    file.write_text(f'[sqs]\nqueue_url = "{here.queue_url}"\nregion = "us-east-1"\n')
    bare = here.consumer.but(CONSUMER_SQS__QUEUE_URL="", CONSUMER_SQS__REGION="")
    assert (await bare.run("--config", "staging.toml", "send", str(OURS))).code == 0
    assert here.queue.visible == 100


async def test_a_second_signal_ends_it_at_once(here: Place) -> None:
    async with here.consumer.running("run") as running:
        await eventually(lambda: here.sqs.calls["ReceiveMessage"] > 0, within_seconds=60)
        running.process.send_signal(signal.SIGTERM)
        await running.logged("stopping")
        ended = await running.stopped(signal.SIGINT)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("Error: stopped at once, at the second signal")


async def test_a_stop_that_takes_longer_than_the_grace_period_says_so(here: Place) -> None:
    def slow(request: Request) -> Delay | None:
        return None if request.operation in ("ReceiveMessage", "GetQueueAttributes") else Delay(60)

    here.sqs.fault_for = slow
    here.send(*_FEED.decode().splitlines())
    hurried = here.consumer.but(
        CONSUMER_SQS__WAIT_SECONDS="1",
        CONSUMER_SQS__CALL_TIMEOUT_SECONDS="60",
        CONSUMER_SHUTDOWN__DRAIN_SECONDS="1",
        CONSUMER_SHUTDOWN__GRACE_SECONDS="3",
    )
    async with hurried.running("run") as running:
        await eventually(lambda: here.sqs.calls["DeleteMessageBatch"] > 0, within_seconds=60)
        ended = await running.stopped()
    assert ended.code == 1
    assert "Error: the stop took longer than shutdown.grace_seconds (3 s)" in ended.err
