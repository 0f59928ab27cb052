"""The group roles: each can do its work, and nothing else."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import ROLES
from tests.consumers import Place
from tests.databases import login_of
from tests.integration.officer.office import Office, login, rotated

WRITER, ANALYST, OFFICER, MAINTENANCE = ROLES
REASON = ("--reason", "ticket 4711")
LISTED = "'t.c', 'k1', sha256('')"
AUDIT = "'me', '{erase}', '{x}', '{t.c}', '{k1}', ARRAY[sha256('')], '{done}'"

# What each statement takes; the roles that are not named are refused.
RIGHTS: dict[str, set[str]] = {
    "SELECT * FROM user_logins": {ANALYST, OFFICER, MAINTENANCE},
    "SELECT * FROM consumer.repeated_devices": {ANALYST, OFFICER},
    "SELECT * FROM consumer.repeated_addresses": {ANALYST, OFFICER},
    "INSERT INTO user_logins (user_id) VALUES ('x')": {WRITER, OFFICER},
    "UPDATE user_logins SET masked_ip = masked_ip": {MAINTENANCE},
    "UPDATE user_logins SET masked_device_id = masked_device_id": {MAINTENANCE},
    "UPDATE user_logins SET user_id = 'x'": set(),
    "DELETE FROM user_logins": {OFFICER},
    "TRUNCATE user_logins": set(),
    "SELECT * FROM consumer.ledger": {WRITER, OFFICER},
    "INSERT INTO consumer.ledger VALUES (1, gen_random_uuid())": {WRITER, OFFICER},
    "UPDATE consumer.ledger SET slot = 1": set(),
    "DELETE FROM consumer.ledger": set(),
    "TRUNCATE consumer.ledger": set(),
    "SELECT reason FROM consumer.quarantine": {WRITER, OFFICER, MAINTENANCE},
    "SELECT sealed_body FROM consumer.quarantine": {OFFICER, MAINTENANCE},
    "INSERT INTO consumer.quarantine (slot, message_id, sent_at, event, reason, kid, sealed_body)"
    " VALUES (1, gen_random_uuid(), now(), 'x', 'x', 'k1', '')": {WRITER},
    "UPDATE consumer.quarantine SET reason = 'x', field_name = 'x'": {OFFICER},
    "UPDATE consumer.quarantine SET kid = 'x', sealed_body = ''": {MAINTENANCE},
    "UPDATE consumer.quarantine SET sent_at = now()": set(),
    "DELETE FROM consumer.quarantine": {OFFICER},
    "TRUNCATE consumer.quarantine": set(),
    "SELECT * FROM consumer.masking_keys": {WRITER, OFFICER, MAINTENANCE},
    "INSERT INTO consumer.masking_keys VALUES ('k9', '')": {WRITER, OFFICER, MAINTENANCE},
    "UPDATE consumer.masking_keys SET kid = 'x'": set(),
    "DELETE FROM consumer.masking_keys": set(),
    "SELECT * FROM consumer.audit": {MAINTENANCE},
    "INSERT INTO consumer.audit SELECT * FROM consumer.audit": set(),
    "UPDATE consumer.audit SET reason = 'x'": set(),
    "DELETE FROM consumer.audit": set(),
    "TRUNCATE consumer.audit": set(),
    "ALTER TABLE consumer.audit DISABLE TRIGGER append_only": set(),
    "SELECT * FROM consumer.audit_head": {MAINTENANCE},
    "UPDATE consumer.audit_head SET number = 0": set(),
    f"SELECT consumer.record_audit({AUDIT})": {OFFICER, MAINTENANCE},
    "SELECT consumer.truncate_idle_slots()": {WRITER, MAINTENANCE},
    "SELECT consumer.truncate_slots_idle_on('2023-11-14')": set(),
    "DELETE FROM consumer.remasked": {MAINTENANCE},
    "INSERT INTO consumer.remasked VALUES ('a', 'b', 'c')": {MAINTENANCE},
    "SELECT * FROM consumer.erased": {OFFICER},
    f"INSERT INTO consumer.erased VALUES ({LISTED})": {OFFICER},  # noqa: S608 - our own
    "UPDATE consumer.erased SET kid = 'x'": set(),
    "DELETE FROM consumer.erased": set(),
    "SELECT * FROM consumer.migrations": {WRITER, OFFICER, MAINTENANCE},
    "DELETE FROM consumer.migrations": set(),
    "CREATE TABLE consumer.mine (x integer)": set(),
    "CREATE TABLE public.mine (x integer)": set(),
    "DROP TABLE user_logins": set(),
    "CREATE ROLE mine": set(),
}


@pytest.fixture
async def granted(office: Office) -> AsyncIterator[dict[str, Office]]:
    """For each group role, the command line of someone who is in that group alone."""
    made = await office.consumer("migrate", "--roles")
    assert made.code == 0, made.err
    database = urlsplit(office.dsn).path[1:]
    names = {role: f"{role}_of_{database}"[:60] for role in ROLES}
    async with connected(ConnectionSettings(office.dsn)) as owner:
        for role, name in names.items():
            await owner.execute(f"CREATE ROLE {name} {login_of(office.dsn)} IN ROLE {role}")
        yield {role: office.as_role(name) for role, name in names.items()}
        for name in names.values():
            await owner.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_its_work_and_nothing_else(
    granted: dict[str, Office], role: str
) -> None:
    may: dict[str, bool] = {}
    async with connected(ConnectionSettings(granted[role].dsn)) as connection:
        for statement in RIGHTS:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                may[statement] = False
            else:
                may[statement] = True
            await transaction.rollback()
    assert may == {statement: role in roles for statement, roles in RIGHTS.items()}


async def test_roles_are_made_once_and_grants_follow_new_columns(
    office: Office, granted: dict[str, Office]
) -> None:
    assert (await office.consumer("migrate", "--with", "ip_subnet_masked", "--roles")).code == 0
    async with connected(ConnectionSettings(granted[MAINTENANCE].dsn)) as connection:
        await connection.execute("UPDATE user_logins SET ip_subnet_masked = ip_subnet_masked")


async def test_a_writer_drains_the_queue(
    here: Place, office: Office, granted: dict[str, Office]
) -> None:
    assert here.dsn == office.dsn
    consumer = here.consumer.but(CONSUMER_POSTGRES__DSN=granted[WRITER].dsn)
    checked = await consumer.run_here("check")
    assert checked.code == 0, checked.out
    bodies = "\n".join([login(), login(ip="x"), login(user_id="ben")])
    assert (await consumer.run("send", "-", stdin=bodies.encode())).code == 0
    drained = await consumer.run("drain")
    assert drained.code == 0, drained.err
    assert (drained.counts["written"], drained.counts["quarantined"]) == (2, 1)
    assert "ledger prune failed" not in drained.err


async def test_an_analyst_exports_and_sees_what_repeats(
    office: Office, granted: dict[str, Office]
) -> None:
    await office.consume(login(), login())
    analyst = granted[ANALYST]
    exported = await analyst.consumer("export")
    assert (exported.code, len(exported.out.splitlines())) == (0, 3), exported.err
    assert len(await analyst.fetch("SELECT * FROM consumer.repeated_devices")) == 1
    assert (await analyst.consumer("quarantine", "list")).code == 1
    recover = ("recover", *REASON, *await office.tokens("masked_ip"))
    assert (await analyst.consumer(*recover)).out == ""


async def test_an_officer_recovers_replays_and_erases(
    office: Office, granted: dict[str, Office]
) -> None:
    await office.consume(login(), login(ip="x"))
    officer = granted[OFFICER]
    tokens = await officer.tokens("masked_ip")
    assert (await officer.consumer("recover", *REASON, *tokens)).code == 0
    for command in (
        ("list",),
        ("list", "--each"),
        ("show", "1", *REASON),
        ("replay", "1", "--dry-run", "--body", "-"),
        ("replay", "1", *REASON, "--body", "-"),
    ):
        shown = await officer.consumer("quarantine", *command, stdin=login(user_id="anna"))
        assert shown.code == 0, shown.err
    erased = await officer.consumer("erase", "--user-id", "anna", *REASON)
    assert (erased.code, erased.out) == (0, "erased 1 rows and 0 messages in quarantine\n")
    assert (await officer.consumer("erase", "--reapply", *REASON)).code == 0
    assert (await officer.consumer("erase", "--export")).code == 0
    assert (await officer.consumer("audit", "verify")).code == 1


async def test_what_an_officer_did_is_audited_under_the_role_that_logged_in(
    office: Office, granted: dict[str, Office]
) -> None:
    officer = granted[OFFICER]
    await office.consume(login())
    await officer.consumer("recover", *REASON, *await office.tokens("masked_ip"))
    (entry,) = await office.fetch("SELECT database_role FROM consumer.audit")
    assert entry[0] == urlsplit(officer.dsn).username


async def test_maintenance_remasks_and_verifies_the_audit(
    office: Office, granted: dict[str, Office]
) -> None:
    await office.consume(login(), login(ip="x"))
    maintenance = granted[MAINTENANCE]
    rotating = replace(maintenance, ring=rotated(office.ring, "k2", os.urandom(32)))
    await office.with_ring(rotating.ring).consume(login(user_id="new"))
    remasked = await rotating.consumer("remask")
    assert remasked.code == 0, remasked.err
    assert {token[:3] for token in await office.tokens("masked_ip")} == {"k2."}
    verified = await maintenance.consumer("audit", "verify")
    assert verified.code == 0, verified.err
    assert await maintenance.fetch("SELECT consumer.truncate_idle_slots()")
    assert (await maintenance.consumer("quarantine", "show", "1", *REASON)).out == ""
