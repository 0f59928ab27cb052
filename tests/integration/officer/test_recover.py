"""`consumer recover`: from tokens to values, audited before anything is shown."""

import asyncio
import csv
import hashlib
import io
import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from consumer.events.loading import load_model
from consumer.events.model import masks_of
from consumer.postgres.connection import ConnectionSettings, connected
from tests.integration.officer.office import Office, login, rotated
from tests.integration.postgres.relay import Relay
from tests.waiting import eventually

IP, DEVICE = "199.172.111.135", "593-47-5928"
REASON = ("--reason", "ticket 4711")


async def audited(office: Office) -> list[asyncpg.Record]:
    return await office.fetch("SELECT * FROM consumer.audit ORDER BY number")


async def test_tokens_are_recovered_each_on_its_line(office: Office) -> None:
    await office.consume(login())
    (ip,), (device,) = await office.tokens("masked_ip"), await office.tokens("masked_device_id")
    shown = await office.consumer("recover", *REASON, ip, device)
    assert (shown.code, shown.out) == (0, f"{IP}\n{DEVICE}\n")


async def test_what_was_recovered_is_audited_with_who_when_why_and_which(office: Office) -> None:
    await office.consume(login())
    (token,) = await office.tokens("masked_ip")
    shown = await office.consumer("recover", *REASON, token)
    (entry,) = await audited(office)
    now = await office.fetch("SELECT clock_timestamp() AS now, session_user AS role")
    assert 0 <= (now[0]["now"] - entry["at"]).total_seconds() < 60
    assert entry["database_role"] == now[0]["role"]
    assert entry["os_user"] == pwd.getpwuid(os.getuid()).pw_name
    assert (entry["action"], entry["reason"]) == ("recover", "ticket 4711")
    assert (entry["column_name"], entry["kid"]) == ("user_logins.masked_ip", "k1")
    assert entry["digest"] == hashlib.sha256(token.encode()).digest()
    assert entry["outcome"] == "recovered"
    assert f"audited up to 1:{entry['hash'].hex()}" in shown.err


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", "  ")])
async def test_without_a_reason_nothing_is_recovered(
    office: Office, reason: tuple[str, ...]
) -> None:
    await office.consume(login())
    shown = await office.consumer("recover", *reason, *await office.tokens("masked_ip"))
    assert (shown.code, shown.out) == (2, "")
    assert "--reason" in shown.err
    assert await audited(office) == []


async def test_tokens_come_on_standard_input_too(office: Office) -> None:
    await office.consume(login())
    (token,) = await office.tokens("masked_ip")
    lines = f"{token}\n\n  {token}\r\n".encode() + b"\xff\xfe\n"
    shown = await office.consumer("recover", *REASON, "-", stdin=lines)
    assert (shown.code, shown.out) == (1, f"{IP}\n\n{IP}\n\n"), shown.err
    assert "token 4: not a token" in shown.err


async def test_a_csv_gets_one_more_column(office: Office, tmp_path: Path) -> None:
    await office.consume(
        login(user_id="anna"),
        login(user_id="ben", ip=None),
        login(user_id="carla", ip="2001:DB8::1"),
    )
    export = await office.consumer("export")
    path = tmp_path / "logins.csv"
    path.write_text(export.out)
    arguments = ("recover", *REASON, "--column", "masked_ip", "--as", "ip", "--csv")
    for file, stdin in ((str(path), ""), ("-", export.out)):
        shown = await office.consumer(*arguments, file, stdin=stdin)
        assert shown.code == 0, shown.err
        rows = list(csv.DictReader(io.StringIO(shown.out)))
        ips = {row["user_id"]: row["ip"] for row in rows}
        assert ips == {"anna": IP, "ben": "", "carla": "2001:db8::1"}
        without = [{name: text for name, text in row.items() if name != "ip"} for row in rows]
        assert without == list(csv.DictReader(io.StringIO(export.out)))


async def test_many_rows_are_recovered_in_batches_and_each_is_audited(office: Office) -> None:
    await office.consume(*(login(device_id=str(number)) for number in range(2500)))
    export = await office.consumer("export")
    arguments = ("recover", *REASON, "--column", "masked_device_id", "--csv", "-")
    shown = await office.consumer(*arguments, stdin=export.out)
    values = [row["recovered"] for row in csv.DictReader(io.StringIO(shown.out))]
    assert sorted(map(int, values)) == list(range(2500))
    assert len(await audited(office)) == 2500


def cut(token: str) -> str:
    return token[:-5]


def change(token: str) -> str:
    return token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]


def relabel(token: str) -> str:
    return "k2" + token[2:]


def same(token: str) -> str:
    return token


@pytest.mark.parametrize(
    ("spoil", "field", "says"),
    [
        (cut, "ip", "truncated: no token of this column has 41 characters"),
        (change, "ip", "tampered: it was changed"),
        (relabel, "ip", "relabelled: it was made with key k1, and says k2"),
        (same, "device_id", "moved: it was made for user_logins.masked_ip, under key k1"),
        (relabel, "device_id", "moved: it was made for user_logins.masked_ip, under key k1"),
        (lambda token: "k9" + token[2:], "ip", "relabelled: it was made with key k1, and says k9"),
    ],
)
async def test_a_token_that_was_spoilt_fails_with_an_error_of_its_own_and_is_audited(
    office: Office, spoil: Callable[[str], str], field: str, says: str
) -> None:
    await office.consume(login())
    spoilt = spoil((await office.tokens("masked_ip"))[0])
    both_keys = office.with_ring(rotated(office.ring, "k2", os.urandom(32)))
    shown = await both_keys.consumer("recover", *REASON, "--field", field, spoilt)
    assert (shown.code, shown.out) == (1, "\n")
    assert f"token 1: {says}" in shown.err
    (entry,) = await audited(office)
    assert entry["outcome"].startswith(f"refused: {says}")
    assert entry["digest"] == hashlib.sha256(spoilt.encode()).digest()
    assert entry["kid"] == spoilt[:2]


async def test_a_column_of_tokens_that_were_moved_is_noticed_by_its_name(office: Office) -> None:
    await office.consume(login())
    await office.fetch("UPDATE user_logins SET masked_device_id = masked_ip")
    export = await office.consumer("export")
    arguments = ("recover", *REASON, "--column", "masked_device_id", "--csv", "-")
    shown = await office.consumer(*arguments, stdin=export.out)
    assert shown.code == 1
    assert IP not in shown.out
    assert "row 2: moved: it was made for user_logins.masked_ip" in shown.err


async def test_a_key_that_the_ring_does_not_have_is_named(office: Office) -> None:
    await office.consume(login())
    other = office.with_ring(type(office.ring).generate("k2", os.urandom))
    shown = await other.consumer("recover", *REASON, *await office.tokens("masked_ip"))
    assert "unknown key: the ring has no k1; use the ring that made the token" in shown.err
    assert [entry["kid"] for entry in await audited(office)] == ["k1"]


@pytest.mark.parametrize("raw", [IP, DEVICE, "10.20.30.40", "::ffff:1.2.3.4", "", "k1"])
async def test_of_a_raw_value_given_by_mistake_nothing_is_audited(office: Office, raw: str) -> None:
    for field in ("ip", "ip_subnet_masked"):
        shown = await office.consumer("recover", *REASON, "--field", field, "--", raw)
        assert shown.code == (1 if raw else 0)
    for entry in await audited(office):
        assert entry["outcome"].startswith("refused: not a token")
        assert (entry["kid"], entry["digest"]) == (None, None)


MODEL = """
from typing import Annotated, ClassVar
from consumer.events.model import EventModel, Into, Masked, Stored
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.mask import Mode

class Payment(EventModel):
    table: ClassVar[str] = "payments"
    sent_on: ClassVar[str] = "paid_on"
    card: Annotated[str | None, Masked(IDENTIFIER, Into("masked_card", Mode.HMAC))]
    ip: Annotated[str | None, Masked(ADDRESS, Into("masked_ip"))]
"""


async def test_hmac_says_that_it_is_irreversible(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "payments_of_a_test.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    path = "payments_of_a_test:Payment"
    mask = masks_of(load_model(path, tmp_path), office.ring)["masked_card"]
    token = mask("4711")
    assert token is not None
    shop = replace(office, variables={"CONSUMER_EVENT__MODEL": path})
    shown = await shop.consumer("recover", *REASON, "--field", "card", token)
    assert (shown.code, shown.out) == (1, "\n")
    assert "irreversible" in shown.err
    (entry,) = await audited(office)
    assert (entry["column_name"], entry["kid"]) == ("payments.card", "k1")


@pytest.mark.parametrize(
    "breakage",
    [
        "DROP FUNCTION consumer.record_audit",
        "ALTER TABLE consumer.audit ADD CHECK (outcome <> 'recovered')",
        "DELETE FROM consumer.audit_head",
        "ALTER TABLE consumer.audit RENAME TO gone",
    ],
)
async def test_what_cannot_be_put_audited_is_not_shown(office: Office, breakage: str) -> None:
    await office.consume(login())
    tokens = await office.tokens("masked_ip")
    await office.fetch(breakage)
    shown = await office.consumer("recover", *REASON, *tokens)
    assert (shown.code, shown.out) == (1, "")
    assert "database: " in shown.err


async def test_nothing_is_shown_if_the_answer_to_the_record_is_lost(office: Office) -> None:
    await office.consume(login())
    (token,) = await office.tokens("masked_ip")
    async with (
        Relay(office.dsn).running() as relay,
        connected(ConnectionSettings(office.dsn)) as blocker,
        asyncio.TaskGroup() as tasks,
    ):
        far = replace(office, dsn=relay.dsn)
        async with blocker.transaction():
            await blocker.fetch("SELECT FROM consumer.audit_head FOR UPDATE")
            shown = tasks.create_task(far.consumer("recover", *REASON, token))
            await eventually(lambda: is_waiting(office), within_seconds=30)
            relay.swallow_answers()
        await eventually(lambda: is_audited(office), within_seconds=30)
        relay.cut()
    assert (shown.result().code, shown.result().out) == (1, "")


async def is_waiting(office: Office) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool((await office.fetch(query))[0][0])


async def is_audited(office: Office) -> bool:
    return bool(await audited(office))
