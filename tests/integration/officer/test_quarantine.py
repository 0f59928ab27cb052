"""`consumer quarantine`: what was no valid event, and its way into the table."""

import asyncio
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import asyncpg
import pytest

from consumer.events.loading import load_model
from consumer.events.user_login import UserLogin
from consumer.officer.quarantine.replay import Replay
from consumer.officer.quarantine.store import Selection
from consumer.officer.recovery.recoverer import Recoverer
from consumer.postgres.connection import ConnectionSettings, connected
from tests.integration.officer.office import (
    DAY_MS,
    SENT_MS,
    Office,
    login,
    rotated,
)

REASON = ("--reason", "ticket 4711")
BAD_IP = login(ip="not-an-address-7")
NOT_JSON = '{"user_id": "anna", \x1b]0;evil\x07'


async def in_quarantine(office: Office) -> list[asyncpg.Record]:
    return await office.fetch("SELECT * FROM consumer.quarantine ORDER BY id")


async def audited(office: Office) -> list[asyncpg.Record]:
    return await office.fetch("SELECT * FROM consumer.audit ORDER BY number")


async def rows(office: Office) -> int:
    count: int = (await office.fetch("SELECT count(*) FROM user_logins"))[0][0]
    return count


async def ids(office: Office) -> list[str]:
    return [str(record["id"]) for record in await in_quarantine(office)]


async def test_list_groups_by_reason_and_shows_nothing_raw(office: Office) -> None:
    await office.consume(NOT_JSON, BAD_IP, login())
    await office.consume(BAD_IP, sent_ms=SENT_MS + 3 * DAY_MS)
    shown = await office.consumer("quarantine", "list")
    assert shown.code == 0
    assert [re.split(r" {2,}", line) for line in shown.out.splitlines()] == [
        ["event", "reason", "field", "messages", "first day", "last day"],
        ["user_logins", "bad_address", "ip", "2", "2023-11-14", "2023-11-17"],
        ["user_logins", "not_json", "1", "2023-11-14", "2023-11-14"],
    ]


async def test_each_message_is_listed_with_its_id_by_reason_and_day(office: Office) -> None:
    await office.consume(NOT_JSON)
    (sent,) = await office.consume(BAD_IP, sent_ms=SENT_MS + DAY_MS)
    for selection in (("--only", "bad_address"), ("--day", "2023-11-15")):
        shown = await office.consumer("quarantine", "list", "--each", *selection)
        assert shown.out == (
            f"2: message {sent.message_id}, sent 2023-11-15T22:13:20.000+00:00,"
            " bad_address (ip), sealed under k1\n"
        )
    assert len((await office.consumer("quarantine", "list", "--each")).out.splitlines()) == 2


async def test_an_empty_quarantine_is_a_header(office: Office) -> None:
    assert len((await office.consumer("quarantine", "list")).out.splitlines()) == 1
    assert (await office.consumer("quarantine", "list", "--each")).out == ""


async def test_show_decrypts_and_escapes_what_could_control_the_terminal(office: Office) -> None:
    await office.consume(NOT_JSON, BAD_IP)
    shown = await office.consumer("quarantine", "show", *await ids(office), *REASON)
    assert shown.code == 0
    assert sorted(shown.out.splitlines()) == sorted(
        [BAD_IP, '{"user_id": "anna", \\x1b]0;evil\\x07']
    )
    assert "bad_address (ip)" in shown.err


async def test_what_was_shown_is_audited(office: Office) -> None:
    (sent,) = await office.consume(BAD_IP)
    await office.consumer("quarantine", "show", "1", *REASON)
    (record,), (entry,) = await in_quarantine(office), await audited(office)
    assert (entry["action"], entry["reason"]) == ("quarantine show", "ticket 4711")
    assert entry["outcome"] == f"shown; quarantine row 1, message {sent.message_id}"
    assert entry["digest"] == hashlib.sha256(record["sealed_body"]).digest()
    assert entry["kid"] == "k1"


@pytest.mark.parametrize(
    "breakage",
    ["DROP FUNCTION consumer.record_audit", "ALTER TABLE consumer.audit RENAME TO gone"],
)
async def test_what_cannot_be_put_audited_is_not_shown_nor_replayed(
    office: Office, breakage: str
) -> None:
    await office.consume(BAD_IP)
    await office.fetch(breakage)
    shown = await office.consumer("quarantine", "show", "1", *REASON)
    assert (shown.code, shown.out) == (1, "")
    replayed = await office.consumer(
        "quarantine", "replay", "1", "--body", "-", *REASON, stdin=login()
    )
    assert (replayed.code, replayed.out) == (1, "")
    assert (await rows(office), len(await in_quarantine(office))) == (0, 1)


@pytest.mark.parametrize("command", [("show", "1"), ("replay", "1"), ("replay", "--all")])
async def test_nothing_is_shown_or_done_without_a_reason(
    office: Office, command: Sequence[str]
) -> None:
    await office.consume(BAD_IP)
    for reason in ((), ("--reason", " ")):
        shown = await office.consumer("quarantine", *command, *reason)
        assert (shown.code, shown.out) == (2, "")
    assert await audited(office) == []


async def test_a_body_that_does_not_open_is_refused_audited(office: Office) -> None:
    await office.consume(BAD_IP, BAD_IP)
    await office.fetch(
        "UPDATE consumer.quarantine AS one SET sealed_body = other.sealed_body"
        " FROM consumer.quarantine AS other WHERE one.id = 1 AND other.id = 2"
    )
    shown = await office.consumer("quarantine", "show", "1", "99", *REASON)
    assert (shown.code, shown.out) == (1, "")
    assert "1: the sealed body does not authenticate" in shown.err
    assert "99: not in quarantine" in shown.err
    (entry,) = await audited(office)
    assert entry["outcome"].startswith("refused: the sealed body does not authenticate")


MODEL = """
from typing import Annotated
from consumer.events.model import Stored
from consumer.events.user_login import UserLogin

class Mended(UserLogin):
    device_type: Annotated[str, Stored(max_length=64)]
"""
LONG_TYPE = "a device type of more than 32 characters"


@pytest.fixture
async def mended(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """The office with a model, and a column, that take longer device types than before."""
    (tmp_path / "mended_model_of_a_test.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    await office.fetch("DROP VIEW consumer.repeated_devices, consumer.repeated_addresses")
    await office.fetch("ALTER TABLE user_logins ALTER device_type TYPE varchar(64)")
    return replace(office, variables={"CONSUMER_EVENT__MODEL": "mended_model_of_a_test:Mended"})


def long_typed(count: int) -> list[str]:
    return [login(user_id=f"user {number}", device_type=LONG_TYPE) for number in range(count)]


async def test_what_a_corrected_model_takes_is_written_as_the_service_would_have_written_it(
    office: Office, mended: Office
) -> None:
    (sent,) = await office.consume(*long_typed(1), sent_ms=SENT_MS + DAY_MS)
    replayed = await mended.consumer("quarantine", "replay", "--all", *REASON)
    assert (replayed.code, replayed.out) == (0, "1 written\n"), replayed.err
    assert await in_quarantine(office) == []
    (row,) = await office.fetch("SELECT * FROM user_logins")
    assert row["create_date"] == date(2023, 11, 15)
    assert (row["user_id"], row["device_type"]) == ("user 0", LONG_TYPE)
    token = row["masked_device_id"]
    assert Recoverer(UserLogin, office.ring).recover(token).value == "593-47-5928"
    (entry,) = await audited(office)
    assert entry["action"] == "quarantine replay"
    assert entry["outcome"] == f"written; quarantine row 1, message {sent.message_id}"


async def test_null_is_written_as_null_through_a_pgbouncer_whose_role_would_make_a_text_of_it(
    office: Office, mended: Office
) -> None:
    await office.consume(login(device_type=LONG_TYPE, locale=None, ip=None))
    await office.fetch(
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET array_nulls = off', current_database()); END $$"
    )
    pooled = {**mended.variables, "CONSUMER_POSTGRES__STATEMENT_CACHE_SIZE": "0"}
    replayed = await replace(mended, variables=pooled).consumer(
        "quarantine", "replay", "--all", *REASON
    )
    assert replayed.out == "1 written\n", replayed.err
    (row,) = await office.fetch("SELECT locale, masked_ip FROM user_logins")
    assert (row["locale"], row["masked_ip"]) == (None, None)


async def test_what_still_fails_stays_with_its_new_reason(office: Office, mended: Office) -> None:
    await office.consume(login(device_type=LONG_TYPE, app_version="x" * 33), *long_typed(1))
    replayed = await mended.consumer("quarantine", "replay", "--all", *REASON)
    assert replayed.code == 1
    assert replayed.out == "1 written\n1 remains: too_long (app_version)\n"
    (left,) = await in_quarantine(office)
    assert (left["reason"], left["field_name"]) == ("too_long", "app_version")
    outcomes = {entry["outcome"].partition(";")[0] for entry in await audited(office)}
    assert outcomes == {"written", "remains: too_long (app_version)"}


async def test_a_dry_run_reports_the_same_and_changes_nothing(
    office: Office, mended: Office
) -> None:
    await office.consume(NOT_JSON, *long_typed(2))
    before = await in_quarantine(office)
    dry = await mended.consumer("quarantine", "replay", "--all", "--dry-run")
    assert (dry.code, dry.out) == (1, "2 would be written\n1 remains: not_json\n")
    assert (await rows(office), await in_quarantine(office)) == (0, before)
    assert await audited(office) == []


@pytest.mark.parametrize(
    ("selection", "written"),
    [
        (["1", "3"], {1, 3}),
        (["--only", "too_long"], {1, 2, 3}),
        (["--only", "not_json"], set()),
        (["--day", "2023-11-15"], {3}),
        (["--only", "too_long", "--day", "2023-11-14"], {1, 2}),
        (["2", "--day", "2023-11-15"], set()),
    ],
)
async def test_only_what_is_selected_is_replayed(
    office: Office, mended: Office, selection: Sequence[str], written: set[int]
) -> None:
    for day in (0, 0, 1):
        await office.consume(*long_typed(1), sent_ms=SENT_MS + day * DAY_MS)
    await mended.consumer("quarantine", "replay", *selection, *REASON)
    left = {record["id"] for record in await in_quarantine(office)}
    assert left == {1, 2, 3} - written
    assert await rows(office) == len(written)


@pytest.mark.parametrize(
    "wrong", [[], ["--edit", "--all"], ["--body", "-", "--all"], ["1", "2", "--body", "-"]]
)
async def test_a_selection_that_makes_no_sense_is_refused(
    office: Office, wrong: Sequence[str]
) -> None:
    assert (await office.consumer("quarantine", "replay", *wrong, *REASON)).code == 2


async def test_replays_at_the_same_time_and_a_redelivery_write_each_message_once(
    office: Office, mended: Office
) -> None:
    sent = await office.consume(*long_typed(300))
    replay = Replay(
        load_model(mended.variables["CONSUMER_EVENT__MODEL"], Path()), office.ring, {}, "x"
    )
    async with asyncio.TaskGroup() as tasks:
        replays = [
            tasks.create_task(replay.run(ConnectionSettings(office.dsn), Selection()))
            for _ in range(3)
        ]
        tasks.create_task(office.write(sent))
    assert sum(each.result().written for each in replays) == 300
    await office.write(sent)
    users = await office.fetch("SELECT count(*), count(DISTINCT user_id) FROM user_logins")
    assert tuple(users[0]) == (300, 300)
    assert await in_quarantine(office) == []


async def test_without_its_ledger_slot_a_message_is_written_once_and_is_known_again(
    office: Office, mended: Office
) -> None:
    sent = await office.consume(*long_typed(2))
    await office.fetch("TRUNCATE consumer.ledger")
    await office.write(sent)
    assert len(await in_quarantine(office)) == 2
    await office.fetch("TRUNCATE consumer.ledger")
    assert (await mended.consumer("quarantine", "replay", "--all", *REASON)).out == "2 written\n"
    await office.write(sent)
    assert (await rows(office), await in_quarantine(office)) == (2, [])


async def test_a_row_that_another_replay_has_locked_is_left_to_it(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(2))
    async with connected(ConnectionSettings(office.dsn)) as other, other.transaction():
        await other.fetch("SELECT FROM consumer.quarantine WHERE id = 1 FOR UPDATE")
        replayed = await mended.consumer("quarantine", "replay", "1", "2", *REASON)
    assert (replayed.code, replayed.out) == (1, "1 written\n")
    assert "1: not in quarantine, or locked by another replay" in replayed.err
    assert await ids(office) == ["1"]


async def test_what_postgresql_refuses_stays_and_its_neighbours_are_written(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(5))
    await office.fetch(
        "ALTER TABLE user_logins ADD CONSTRAINT not_user_3 CHECK (user_id <> 'user 3')"
    )
    replayed = await mended.consumer("quarantine", "replay", "--all", *REASON)
    assert replayed.out == "4 written\n1 remains: rejected_by_database (not_user_3)\n"
    assert "user 3" not in replayed.err
    (left,) = await in_quarantine(office)
    assert (left["reason"], left["field_name"]) == ("rejected_by_database", "not_user_3")


async def test_a_failure_in_the_middle_leaves_whole_messages(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(200))
    await office.fetch("ALTER TABLE consumer.audit ADD CHECK (number < 100)")
    replayed = await mended.consumer("quarantine", "replay", "--all", *REASON)
    assert replayed.code == 1
    written, left = await rows(office), await in_quarantine(office)
    assert 0 < written < 100
    assert written + len(left) == 200
    assert len(await audited(office)) == written


async def test_a_key_ring_that_the_database_does_not_know_writes_nothing(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(1))
    await mended.consumer("quarantine", "replay", "--only", "not_json", *REASON)  # tells the key
    wrong = mended.with_ring(type(office.ring).generate("k1", os.urandom))
    for mode in (REASON, ("--dry-run",)):
        refused = await wrong.consumer("quarantine", "replay", "--all", *mode)
        assert (refused.code, refused.out) == (1, "")
        assert "k1 is not the key that this database knows" in refused.err
    assert await rows(office) == 0


async def test_what_was_sealed_under_an_old_key_is_written_under_the_new_one(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(1))
    after = mended.with_ring(rotated(office.ring, "k2", os.urandom(32)))
    assert (await after.consumer("quarantine", "replay", "--all", *REASON)).code == 0
    (token,) = await office.tokens("masked_ip")
    assert token.startswith("k2.")


async def test_a_new_body_comes_on_standard_input(office: Office) -> None:
    (sent,) = await office.consume(BAD_IP, sent_ms=SENT_MS + DAY_MS)
    replay = ("quarantine", "replay", "1", "--body", "-", *REASON)
    assert (await office.consumer(*replay, stdin=login())).out == "1 written\n"
    (row,) = await office.fetch("SELECT * FROM user_logins")
    assert row["create_date"] == date(2023, 11, 15)
    ledger = await office.fetch("SELECT message_id::text FROM consumer.ledger")
    assert [record[0] for record in ledger] == [sent.message_id]


@pytest.mark.parametrize("body", [b"", b"{}", BAD_IP.encode(), b"\xff", b"x" * (1024 * 1024 + 1)])
async def test_a_new_body_that_does_not_pass_is_dropped_and_the_original_stays(
    office: Office, body: bytes
) -> None:
    await office.consume(NOT_JSON)
    before = await in_quarantine(office)
    replayed = await office.consumer(
        "quarantine", "replay", "1", "--body", "-", *REASON, stdin=body
    )
    assert replayed.code == 1
    assert (await rows(office), await in_quarantine(office)) == (0, before)


EDITOR = """#!/bin/sh
stat -c %a "$1" "$(dirname "$1")" >"{report}"
echo "$1" >>"{report}"
cp "$1" "$1~"
sed -i s/not-an-address-7/192.0.2.7/ "$1"
"""


async def test_an_editor_gets_a_file_of_ones_own_which_is_gone_afterwards(
    office: Office, tmp_path: Path
) -> None:
    report, editor = tmp_path / "report", tmp_path / "editor"
    editor.write_text(EDITOR.format(report=report))
    editor.chmod(stat.S_IRWXU)
    await office.consume(BAD_IP, NOT_JSON)
    query = "SELECT id FROM consumer.quarantine WHERE reason = 'bad_address'"
    ((bad_ip,),) = await office.fetch(query)
    editing = replace(office, variables={"VISUAL": str(editor), "EDITOR": "false"})
    replayed = await editing.consumer("quarantine", "replay", str(bad_ip), "--edit", *REASON)
    assert (replayed.code, replayed.out) == (0, "1 written\n"), replayed.err
    file_mode, folder_mode, path = report.read_text().split()
    assert (file_mode, folder_mode) == ("600", "700")
    assert not Path(path).parent.exists()
    (token,) = await office.tokens("masked_ip")
    assert Recoverer(UserLogin, office.ring).recover(token).value == "192.0.2.7"
    actions = [entry["action"] for entry in await audited(office)]
    assert actions == ["quarantine show", "quarantine replay"]


async def test_where_there_is_nothing_to_edit_nothing_is_replayed(
    office: Office, mended: Office
) -> None:
    await office.consume(*long_typed(2))
    editing = replace(mended, variables={**mended.variables, "VISUAL": "true"})
    nothing = await editing.consumer("quarantine", "replay", "99", "--edit", *REASON)
    assert (nothing.code, nothing.out) == (1, "")
    one = await editing.consumer("quarantine", "replay", "1", "99", "--edit", *REASON)
    assert (one.code, one.out) == (1, "1 written\n")
    assert "99: not in quarantine" in one.err
    assert await ids(office) == ["2"]


async def test_an_editor_that_fails_changes_nothing(office: Office) -> None:
    await office.consume(BAD_IP)
    editing = replace(office, variables={"VISUAL": "false"})
    replayed = await editing.consumer("quarantine", "replay", "1", "--edit", *REASON)
    assert replayed.code == 1
    assert len(await in_quarantine(office)) == 1
