"""The audit: it only grows, and whatever was done to it shows."""

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from consumer.officer.audit.store import (
    EMPTY_AUDIT,
    Action,
    AuditEntry,
    AuditHead,
    AuditVerdict,
    record,
    verify,
)
from consumer.postgres.connection import ConnectionSettings, connected
from tests.integration.officer.office import Office

ALL_COLUMNS = (
    "at = at + interval '1 microsecond'",
    "database_role = 'someone'",
    "os_user = 'someone'",
    "action = 'erase'",
    "reason = 'a better one'",
    "column_name = NULL",
    "kid = 'k2'",
    "digest = NULL",
    "outcome = 'refused: tampered'",
    "hash = sha256('')",
    "previous_hash = sha256('')",
    "payload = NULL",
    "payload = payload || ' '",
    """payload = replace(payload, '"k1"', '"k2"')""",
)
# The function of before payloads: the hash covers the binary form of the columns.
BINARY_FORM = """
CREATE FUNCTION record_without_payload(reason text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head consumer.audit_head;
    now_at timestamptz := clock_timestamp();
    new_hash bytea;
BEGIN
    SELECT * INTO STRICT head FROM consumer.audit_head FOR UPDATE;
    new_hash := sha256(head.hash || array_send(ARRAY[
        int8send(head.number + 1), timestamptz_send(now_at), 'owner'::bytea, 'me'::bytea,
        'erase'::bytea, convert_to(reason, 'UTF8'), NULL, 'k1'::bytea, sha256('t'), 'done'::bytea
    ]));
    INSERT INTO consumer.audit VALUES (
        head.number + 1, now_at, 'owner', 'me', 'erase', reason, NULL, 'k1', sha256('t'), 'done',
        head.hash, new_hash
    );
    UPDATE consumer.audit_head SET number = head.number + 1, hash = new_hash;
END
$$
"""


def entries(count: int, reason: str = "ticket 4711") -> list[AuditEntry]:
    return [
        AuditEntry(
            Action.RECOVER,
            reason,
            "recovered",
            column="user_logins.masked_ip",
            kid="k1",
            digest=hashlib.sha256(str(number).encode()).digest(),
        )
        for number in range(count)
    ]


async def recorded(office: Office, count: int = 5) -> AuditHead:
    async with connected(ConnectionSettings(office.dsn)) as connection:
        return await record(connection, entries(count))


async def tampered_with(office: Office, *statements: str) -> None:
    """Run statements as the owner, who can switch the trigger off."""
    off = "ALTER TABLE consumer.audit DISABLE TRIGGER append_only;"
    async with connected(ConnectionSettings(office.dsn)) as connection:
        await connection.execute(off + ";".join(statements))


async def test_an_untouched_audit_verifies_and_its_head_is_printed(office: Office) -> None:
    empty = await office.consumer("audit", "verify")
    assert (empty.code, empty.out) == (0, f"{EMPTY_AUDIT}\n")
    head = await recorded(office)
    shown = await office.consumer("audit", "verify")
    assert (shown.code, shown.out) == (0, f"{head}\n")
    assert "rows: 5; the chain holds" in shown.err


async def test_any_text_and_any_missing_part_verifies(office: Office) -> None:
    async with connected(ConnectionSettings(office.dsn)) as connection:
        await record(connection, [AuditEntry(Action.ERASE, "wegen §17, 日本, '\"\\", "")])
        await record(connection, [])
        await record(connection, [AuditEntry(Action.REMASK, "x", "y", digest=os.urandom(32))])
        verdict = await verify(connection)
    assert (verdict.fault, verdict.head.number) == (None, 2)


async def test_an_auditor_checks_a_row_with_sha256sum(office: Office, tmp_path: Path) -> None:
    await recorded(office)
    rows = await office.fetch("SELECT payload, hash, previous_hash, number FROM consumer.audit")
    for payload, digest, previous, number in rows:
        path = tmp_path / "payload"
        path.write_text(f"{payload}\n")  # psql -At ends a row with a line feed
        checked = await asyncio.create_subprocess_exec("sha256sum", path, stdout=subprocess.PIPE)
        printed, _ = await checked.communicate()
        assert printed.split()[0].decode() == digest.hex()
        columns = json.loads(payload)
        assert (columns["number"], columns["previous_hash"]) == (number, previous.hex())


async def test_rows_from_before_the_payload_verify_and_new_ones_follow_them(office: Office) -> None:
    async with connected(ConnectionSettings(office.dsn)) as connection:
        await connection.execute(BINARY_FORM)
        for reason in ("first", "second"):
            await connection.execute("SELECT record_without_payload($1)", reason)
        head = await record(connection, entries(2))
        assert await verify(connection) == AuditVerdict(head)
        await tampered_with(office, "UPDATE consumer.audit SET reason = 'x' WHERE number = 2")
        assert (await verify(connection)).fault == "row 2 was changed"


@pytest.mark.parametrize("moment", ["-infinity", "infinity", "20000-01-01"])
async def test_a_time_that_python_cannot_hold_is_a_change(office: Office, moment: str) -> None:
    await recorded(office)
    await tampered_with(office, f"UPDATE consumer.audit SET at = '{moment}' WHERE number = 2")  # noqa: S608 - a time of ours
    shown = await office.consumer("audit", "verify")
    assert "row 2 was changed" in shown.err


async def test_a_changed_row_is_found_whatever_was_changed(office: Office) -> None:
    await recorded(office)
    await tampered_with(office, "CREATE TABLE kept AS SELECT * FROM consumer.audit")
    async with connected(ConnectionSettings(office.dsn)) as connection:
        for change in ALL_COLUMNS:
            await connection.execute(f"UPDATE consumer.audit SET {change} WHERE number = 3")  # noqa: S608 - a change of ours
            verdict = await verify(connection)
            assert "row 3 " in str(verdict.fault), change
            assert verdict.head.number == 2
            await connection.execute("TRUNCATE consumer.audit")
            await connection.execute("INSERT INTO consumer.audit SELECT * FROM kept")
        assert (await verify(connection)).fault is None


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["DELETE FROM consumer.audit WHERE number = 1"], "row 1 is missing"),
        (["DELETE FROM consumer.audit WHERE number = 3"], "row 3 is missing"),
        (["DELETE FROM consumer.audit WHERE number > 3"], "ends with row 3"),
        (["DELETE FROM consumer.audit"], "ends with row 0"),
        (["TRUNCATE consumer.audit"], "ends with row 0"),
        (
            [
                "DELETE FROM consumer.audit WHERE number = 3",
                "UPDATE consumer.audit SET number = number - 1 WHERE number > 3",
            ],
            "row 3 does not follow row 2",
        ),
        (
            [
                "UPDATE consumer.audit SET number = 100 WHERE number = 2",
                "UPDATE consumer.audit SET number = 2 WHERE number = 3",
                "UPDATE consumer.audit SET number = 3 WHERE number = 100",
            ],
            "row 2 does not follow row 1",
        ),
        (
            [
                "INSERT INTO consumer.audit SELECT 6, at, database_role, os_user, action, reason,\
                column_name, kid, digest, outcome, hash, sha256('') FROM consumer.audit\
                WHERE number = 5"
            ],
            "row 6 was changed",
        ),
        (["DELETE FROM consumer.audit_head"], "ends with row 5"),
    ],
)
async def test_a_row_removed_moved_or_added_is_found(
    office: Office, statements: Sequence[str], says: str
) -> None:
    await recorded(office)
    await tampered_with(office, *statements)
    shown = await office.consumer("audit", "verify")
    assert (shown.code, shown.out) == (1, "")
    assert says in shown.err


async def test_a_chain_written_anew_from_its_start_shows_against_a_head_kept_elsewhere(
    office: Office,
) -> None:
    kept = await recorded(office)
    await tampered_with(
        office,
        "TRUNCATE consumer.audit",
        "UPDATE consumer.audit_head SET number = 0, hash = sha256('')",
    )
    async with connected(ConnectionSettings(office.dsn)) as connection:
        await record(connection, entries(5, reason="another story"))
    assert (await office.consumer("audit", "verify")).code == 0
    shown = await office.consumer("audit", "verify", "--expect", str(kept))
    assert (shown.code, shown.out) == (1, "")
    assert "the expected head" in shown.err


async def test_a_head_that_was_kept_is_found_in_what_has_grown_since(office: Office) -> None:
    kept = await recorded(office)
    await recorded(office)
    assert (await office.consumer("audit", "verify", "--expect", str(kept))).code == 0
    for malformed in ("", "5", "x:00", f"-1:{kept.hash.hex()}", "5:00"):
        refused = await office.consumer("audit", "verify", "--expect", malformed)
        assert refused.code == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consumer.audit SET reason = 'x'",
        "UPDATE consumer.audit SET reason = 'x' WHERE false",
        "DELETE FROM consumer.audit",
        "TRUNCATE consumer.audit",
        "SET session_replication_role = replica; DELETE FROM consumer.audit",
    ],
)
async def test_not_even_the_owner_changes_the_audit_by_accident(
    office: Office, statement: str
) -> None:
    await recorded(office)
    async with connected(ConnectionSettings(office.dsn)) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"audit is append-only"):
            await connection.execute(statement)
        assert await connection.fetchval("SELECT count(*) FROM consumer.audit") == 5


@pytest.mark.parametrize("reason", ["", " ", "\t\n"])
async def test_a_reason_of_nothing_is_refused_by_the_database_too(
    office: Office, reason: str
) -> None:
    async with connected(ConnectionSettings(office.dsn)) as connection:
        with pytest.raises(Exception, match="23514"):
            await record(connection, entries(1, reason=reason))
        assert (await verify(connection)).head == EMPTY_AUDIT


async def test_writers_at_the_same_time_make_one_chain(office: Office) -> None:
    async def write(name: str) -> None:
        async with connected(ConnectionSettings(office.dsn)) as connection:
            for _ in range(20):
                await record(connection, entries(2, reason=name))

    await asyncio.gather(*(write(f"writer {number}") for number in range(8)))
    async with connected(ConnectionSettings(office.dsn)) as connection:
        verdict = await verify(connection)
    assert (verdict.fault, verdict.head.number) == (None, 320)


async def test_a_writer_that_is_killed_leaves_the_chain_whole(office: Office) -> None:
    await recorded(office)
    async with connected(ConnectionSettings(office.dsn)) as other:
        killed = await asyncpg.connect(office.dsn)
        transaction = killed.transaction()
        await transaction.start()
        await record(killed, entries(3))
        await other.fetch("SELECT pg_terminate_backend($1)", killed.get_server_pid())
        killed.terminate()
        await record(other, entries(1))
        verdict = await verify(other)
    assert (verdict.fault, verdict.head.number) == (None, 6)


async def test_what_is_audited_is_on_disk_whatever_the_session_says(office: Office) -> None:
    async with connected(ConnectionSettings(office.dsn)) as connection:
        await connection.execute("SET synchronous_commit = off")
        async with connection.transaction():
            await record(connection, entries(1))
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
