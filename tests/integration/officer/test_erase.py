"""`consumer erase`: a subject's rows and messages are gone, and stay gone."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from consumer.officer.erasure.subjects import SubjectHash
from consumer.postgres.connection import ConnectionSettings, connected
from tests.integration.officer.office import Office, Shown, login, rotated
from tests.waiting import eventually

REASON = ("--reason", "request 17")
ANNA, BEN = "anna-4711", "ben-4712"


async def erased(office: Office, subject: str = ANNA) -> Shown:
    return await office.consumer("erase", "--user-id", subject, *REASON)


async def users(office: Office) -> list[str]:
    query = "SELECT user_id FROM user_logins ORDER BY user_id"
    return [record[0] for record in await office.fetch(query)]


async def quarantined(office: Office) -> int:
    count: int = (await office.fetch("SELECT count(*) FROM consumer.quarantine"))[0][0]
    return count


async def audited(office: Office) -> list[asyncpg.Record]:
    return await office.fetch("SELECT * FROM consumer.audit ORDER BY number")


async def test_a_subjects_rows_and_messages_are_deleted_and_no_one_elses(office: Office) -> None:
    await office.consume(*(login(user_id=user) for user in (ANNA, ANNA, BEN)))
    nested = json.dumps({"Type": "Notification", "Message": login(user_id=ANNA)})
    await office.consume(login(user_id=ANNA, ip="x"), nested, login(user_id=BEN, ip="x"), "{")
    shown = await erased(office)
    assert (shown.code, shown.out) == (0, "erased 2 rows and 2 messages in quarantine\n"), shown.err
    assert await users(office) == [BEN]
    assert await quarantined(office) == 2


async def test_an_erasure_is_audited_and_listed_without_the_id(
    office: Office,
) -> None:
    await office.consume(login(user_id=ANNA))
    await erased(office)
    (entry,) = await audited(office)
    (listed,) = await office.fetch("SELECT * FROM consumer.erased")
    digest = SubjectHash(office.ring, "user_logins.user_id").digest(ANNA, "k1")
    assert (entry["action"], entry["reason"]) == ("erase", "request 17")
    assert entry["outcome"] == "erased 1 rows and 0 messages in quarantine"
    assert entry["column_name"] == listed["column_name"] == "user_logins.user_id"
    assert entry["kid"] == listed["kid"] == "k1"
    assert entry["digest"] == listed["subject_hash"] == digest
    assert ANNA not in f"{entry}{listed}"


async def test_the_id_may_come_on_standard_input(office: Office) -> None:
    await office.consume(login(user_id=ANNA))
    shown = await office.consumer("erase", "--user-id", "-", *REASON, stdin=f"{ANNA}\n")
    assert shown.out.startswith("erased 1 rows")
    assert ANNA not in shown.out + shown.err


@pytest.mark.parametrize(
    "wrong",
    [
        [*REASON],
        ["--user-id", ANNA],
        ["--user-id", ANNA, "--reason", " "],
        ["--user-id", "", *REASON],
        ["--reapply"],
        ["--reapply", "--user-id", ANNA, *REASON],
        ["--reapply", "--export", *REASON],
        ["--user-id", ANNA, "--from", os.devnull, *REASON],
    ],
)
async def test_a_wrong_call_erases_nothing(office: Office, wrong: Sequence[str]) -> None:
    await office.consume(login(user_id=ANNA))
    assert (await office.consumer("erase", *wrong)).code == 2
    assert await users(office) == [ANNA]


@pytest.mark.parametrize(
    "breakage",
    ["DROP FUNCTION consumer.record_audit", "ALTER TABLE consumer.erased RENAME TO gone"],
)
async def test_what_cannot_be_put_audited_or_on_the_list_is_not_erased(
    office: Office, breakage: str
) -> None:
    await office.consume(login(user_id=ANNA), login(user_id=ANNA, ip="x"))
    await office.fetch(breakage)
    shown = await erased(office)
    assert (shown.code, shown.out) == (1, "")
    assert (await users(office), await quarantined(office)) == ([ANNA], 1)


async def test_a_message_that_a_replay_writes_meanwhile_is_erased_as_a_row(office: Office) -> None:
    await office.consume(login(user_id=ANNA, ip="x"))
    async with (
        asyncio.TaskGroup() as tasks,
        connected(ConnectionSettings(office.dsn)) as replay,
        replay.transaction(),
    ):
        await replay.execute("SELECT FROM consumer.quarantine FOR UPDATE")
        shown = tasks.create_task(erased(office))
        await eventually(lambda: is_waiting(office), within_seconds=30)
        await replay.execute("DELETE FROM consumer.quarantine")
        await replay.execute("INSERT INTO user_logins (user_id) VALUES ($1)", ANNA)
    assert shown.result().out == "erased 1 rows and 0 messages in quarantine\n"
    assert await users(office) == []


async def is_waiting(office: Office) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool((await office.fetch(query))[0][0])


async def test_a_restored_subject_is_erased_again(office: Office) -> None:
    await office.consume(login(user_id=ANNA), login(user_id=BEN))
    await erased(office)
    await office.consume(login(user_id=ANNA), login(user_id=ANNA, ip="x"))  # the restore
    shown = await office.consumer("erase", "--reapply", *REASON)
    assert (shown.code, shown.out) == (0, "erased 1 rows and 1 messages in quarantine\n")
    assert (await users(office), await quarantined(office)) == ([BEN], 0)
    outcome = "reapplied: erased 1 rows and 1 messages in quarantine"
    assert [entry["outcome"] for entry in await audited(office)][1:] == [outcome]


async def test_a_list_that_was_kept_elsewhere_is_taken_over_after_a_restore(
    office: Office, tmp_path: Path
) -> None:
    await office.consume(login(user_id=ANNA), login(user_id=BEN))
    await erased(office)
    exported = await office.consumer("erase", "--export")
    (before,) = await office.fetch("SELECT * FROM consumer.erased")
    assert ANNA not in exported.out
    kept = tmp_path / "erased.csv"
    kept.write_text(exported.out)
    await office.fetch("TRUNCATE consumer.erased")  # the restored backup is older than the list
    await office.consume(login(user_id=ANNA))
    for _ in range(2):
        shown = await office.consumer("erase", "--reapply", "--from", str(kept), *REASON)
        assert shown.code == 0
        assert await users(office) == [BEN]
        assert await office.fetch("SELECT * FROM consumer.erased") == [before]


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n", "column,kid,subject_hash,erased_at\nt.c,k1,zz,2026-01-01T00:00:00+00:00\n"],
)
async def test_what_is_no_list_is_refused(office: Office, text: str, tmp_path: Path) -> None:
    kept = tmp_path / "erased.csv"
    kept.write_text(text)
    shown = await office.consumer("erase", "--reapply", "--from", str(kept), *REASON)
    assert shown.code == 1
    assert "not a list that `erase --export` wrote" in shown.err
    assert await audited(office) == []


async def test_after_a_rotation_the_list_of_both_keys_is_applied(office: Office) -> None:
    await erased(office)
    after = office.with_ring(rotated(office.ring, "k2", os.urandom(32)))
    await erased(after, BEN)
    await after.consume(login(user_id=ANNA), login(user_id=BEN), login(user_id="carla"))
    assert (await after.consumer("erase", "--reapply", *REASON)).code == 0
    assert await users(office) == ["carla"]


async def test_entries_of_a_key_that_is_gone_are_reported(office: Office) -> None:
    await erased(office)
    other = office.with_ring(type(office.ring).generate("k2", os.urandom))
    shown = await other.consumer("erase", "--reapply", *REASON)
    assert shown.code == 1
    assert "not applied: 1 entries of the list" in shown.err
    assert "the ring lacks their keys: k1" in shown.err


async def test_bodies_that_do_not_open_are_reported_and_the_rest_is_erased(office: Office) -> None:
    await office.consume(login(user_id=ANNA), login(user_id=ANNA, ip="x"))
    other = office.with_ring(type(office.ring).generate("k2", os.urandom))
    shown = await erased(other)
    assert (shown.code, shown.out) == (1, "erased 1 rows and 0 messages in quarantine\n")
    assert "not checked, this key ring does not open them: 1" in shown.err
    assert (await users(office), await quarantined(office)) == ([], 1)


async def test_a_key_that_the_database_knows_otherwise_erases_nothing(office: Office) -> None:
    await office.consume(login(user_id=BEN))
    await erased(office)
    wrong = office.with_ring(type(office.ring).generate("k1", os.urandom))
    assert (await erased(wrong, BEN)).code == 1
    assert await users(office) == [BEN]


async def test_a_model_without_a_subject_says_so(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nobodys_model_of_a_test.py").write_text(
        "from consumer.events.user_login import UserLogin\n\n"
        "class Visit(UserLogin):\n    subject = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = "nobodys_model_of_a_test:Visit"
    shown = await erased(replace(office, variables={"CONSUMER_EVENT__MODEL": path}))
    assert shown.code == 1
    assert "Visit declares no subject" in shown.err
