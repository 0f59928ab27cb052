"""After another key has become primary: every token is rewritten, whatever is in the way."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import asyncpg
import pytest

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import ADDRESS
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.mask import Mode, mask_for
from consumer.masking.sealing import BodySeal
from consumer.messages import Reason
from consumer.officer.remask.store import Progress, RemaskPlan, RemaskResult, remask
from consumer.postgres.connection import ConnectionSettings, connected
from tests.integration.postgres.outcomes import message
from tests.waiting import eventually

OLD = KeyRing.generate("k1", secrets.token_bytes)
NEW = KeyRing(
    "k2",
    {
        "k1": Key(OLD.keys["k1"].secret, KeyState.DECRYPT),
        "k2": Key(secrets.token_bytes(32), KeyState.ACTIVE),
    },
)
COLUMNS = ("masked_ip", "masked_device_id")
VIEWS = ("repeated_devices", "repeated_addresses")


def renewal(ring: KeyRing = NEW, columns: Sequence[str] = COLUMNS) -> RemaskPlan:
    masks = masks_of(UserLogin, ring)
    tokens = {name: masks[name].renew for name in columns}
    return RemaskPlan("user_logins", ring.primary, tokens, BodySeal(ring).renew)


async def run(
    dsn: str, what: RemaskPlan | None = None, show: Callable[[Progress], None] = lambda _: None
) -> RemaskResult:
    async with connected(ConnectionSettings(dsn)) as connection:
        return await remask(connection, what or renewal(), pages_a_batch=4, show=show)


async def insert(dsn: str, ring: KeyRing, numbers: Sequence[int]) -> None:
    """Rows of 1,000 addresses and 100 devices, every tenth without a device."""
    masks = masks_of(UserLogin, ring)
    records = []
    for n in numbers:
        ip = masks["masked_ip"](f"10.0.{n % 1000 // 250}.{n % 250}")
        device = masks["masked_device_id"](f"device {n % 100}")
        values = (ip, device if n % 10 else None)
        records.append((f"user {n}", "ios", *values, "DE", "1.2", date(2026, 1, 1)))
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.copy_records_to_table("user_logins", records=records)


async def quarantine(dsn: str, ring: KeyRing, body: str) -> str:
    seal, quarantined = BodySeal(ring), message()
    sealed = seal.seal(quarantined.message_id, body)
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.execute(
            """
            INSERT INTO consumer.quarantine
                (slot, message_id, sent_at, event, reason, kid, sealed_body)
            VALUES (1, $1, now(), 'user_logins', $2, $3, $4)
            """,
            quarantined.message_id,
            Reason.NOT_JSON.value,
            ring.primary,
            sealed,
        )
    return quarantined.message_id


async def values(dsn: str) -> list[tuple[str, str | None, str | None]]:
    """What the rows stand for; raises if a token is not one of the new key's."""
    masks = masks_of(UserLogin, KeyRing("k2", {"k2": NEW.keys["k2"]}))
    async with connected(ConnectionSettings(dsn)) as connection:
        rows = await connection.fetch(
            "SELECT user_id, masked_ip, masked_device_id FROM user_logins ORDER BY 1"
        )
    return [
        (
            user,
            ip and masks["masked_ip"].recover(ip),
            device and masks["masked_device_id"].recover(device),
        )
        for user, ip, device in rows
    ]


async def put(dsn: str, user: str, token: str | None) -> None:
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.execute(
            "UPDATE user_logins SET masked_ip = $2 WHERE user_id = $1", user, token
        )


async def fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    async with connected(ConnectionSettings(dsn)) as connection:
        return list(await connection.fetch(query))


async def test_every_token_and_body_is_rewritten_and_means_what_it_meant(database: str) -> None:
    await insert(database, OLD, range(2_000))
    message_id = await quarantine(database, OLD, "no JSON, but 10.0.0.1")
    done = await run(database)
    assert done == RemaskResult(rows=2_000, bodies=1, left=dict.fromkeys(COLUMNS, 0))
    assert done.is_complete
    expected = [
        (f"user {n}", f"10.0.{n % 1000 // 250}.{n % 250}", f"device {n % 100}" if n % 10 else None)
        for n in range(2_000)
    ]
    assert await values(database) == sorted(expected)
    ((kid, sealed),) = await fetch(database, "SELECT kid, sealed_body FROM consumer.quarantine")
    assert kid == "k2"
    assert BodySeal(NEW).unseal(kid, message_id, sealed) == "no JSON, but 10.0.0.1"
    assert await fetch(database, "SELECT * FROM consumer.remasked") == []


async def test_equal_values_count_as_one_from_the_first_rewritten_row_to_the_last(
    database: str,
) -> None:
    await insert(database, OLD, range(1_000))
    await insert(database, NEW, range(1_000, 1_500))
    rewriting: list[asyncio.Task[list[asyncpg.Record]]] = []

    def show(progress: Progress) -> None:
        if progress.stage == "rewriting rows":
            rewriting.append(asyncio.create_task(fetch(database, view)))

    view = "SELECT token, events, users FROM consumer.repeated_devices ORDER BY token"
    await run(database, show=show)
    after = await fetch(database, view)
    assert {row["events"] for row in after} == {15}
    assert rewriting
    for during in rewriting:
        assert await during == after


async def test_a_run_over_nothing_old_changes_nothing(database: str) -> None:
    await insert(database, NEW, range(100))
    before = await fetch(database, "SELECT ctid, * FROM user_logins")
    done = await run(database)
    assert (done.rows, done.bodies, done.is_complete) == (0, 0, True)
    assert await fetch(database, "SELECT ctid, * FROM user_logins") == before


async def test_partitions_are_rewritten_one_after_the_other(database: str) -> None:
    await fetch(
        database,
        """
        DO $$ BEGIN
            ALTER TABLE user_logins RENAME TO whole;
            CREATE TABLE user_logins (LIKE whole) PARTITION BY HASH (user_id);
            CREATE TABLE "odd Name" PARTITION OF user_logins
                FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE even PARTITION OF user_logins FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        END $$
        """,
    )
    await insert(database, OLD, range(500))
    done = await run(database)
    assert (done.rows, done.is_complete) == (500, True)
    assert len(await values(database)) == 500


async def test_what_is_no_token_of_ours_stays_and_is_reported(database: str) -> None:
    await insert(database, OLD, range(10))
    stranger = masks_of(UserLogin, KeyRing.generate("k9", secrets.token_bytes))
    odd = stranger["masked_ip"]("10.9.9.9")
    await put(database, "user 3", odd)
    await put(database, "user 4", "none")
    done = await run(database)
    assert not done.is_complete
    assert done.left == {"masked_ip": 2, "masked_device_id": 0}
    assert len(done.refusals) == 2
    assert any("the key ring has no key k9" in refusal for refusal in done.refusals)
    kept = await fetch(database, "SELECT masked_ip FROM user_logins WHERE user_id = 'user 4'")
    assert kept[0][0] == "none"


async def test_irreversible_tokens_stay_under_their_key(database: str) -> None:
    column = "user_logins.masked_ip"
    old = mask_for(OLD, column, Mode.HMAC, ADDRESS)("10.0.0.1")
    await insert(database, OLD, range(1))
    await put(database, "user 0", old)
    hashed = mask_for(NEW, column, Mode.HMAC, ADDRESS)
    what = RemaskPlan("user_logins", "k2", {"masked_ip": hashed.renew}, BodySeal(NEW).renew)
    done = await run(database, what)
    assert done.left == {"masked_ip": 1}
    assert "irreversible" in next(iter(done.refusals))


async def test_an_event_without_masked_fields_has_its_bodies_rewritten(database: str) -> None:
    await quarantine(database, OLD, "no JSON")
    done = await run(database, renewal(columns=()))
    assert done == RemaskResult(bodies=1)


async def test_an_interrupted_rotation_is_overtaken_by_the_next(database: str) -> None:
    await insert(database, OLD, range(200))
    with suppress(asyncio.CancelledError):
        await run(database, show=_cancel_at("rewriting rows"))
    assert await fetch(database, "SELECT FROM consumer.remasked LIMIT 1")
    third = KeyRing(
        "k3",
        {
            **{kid: Key(NEW.keys[kid].secret, KeyState.DECRYPT) for kid in ("k1", "k2")},
            "k3": Key(secrets.token_bytes(32), KeyState.ACTIVE),
        },
    )
    assert (await run(database, renewal(third))).is_complete


def _cancel_at(stage: str) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        if progress.stage == stage:
            raise asyncio.CancelledError

    return show


async def test_two_runs_at_once_take_turns(database: str) -> None:
    await insert(database, OLD, range(2_000))
    first, second = await asyncio.gather(run(database), run(database))
    assert first.rows + second.rows == 2_000
    assert first.is_complete
    assert second.is_complete


async def test_the_command_goes_on_after_kill_9_beside_a_writer(
    database: str, tmp_path: Path
) -> None:
    await insert(database, OLD, range(6_000))
    ring = tmp_path / "ring.json"
    ring.touch(0o600)
    ring.write_text(NEW.to_json())
    environment = {
        **os.environ,
        "CONSUMER_POSTGRES__DSN": database,
        "CONSUMER_MASKING__KEYRING_FILE": str(ring),
    }
    command = (sys.executable, "-m", "consumer", "remask", "--pages-a-batch", "1")

    async def old_left() -> int:
        query = "SELECT count(*) FROM user_logins WHERE masked_ip LIKE 'k1.%'"
        return int((await fetch(database, query))[0][0])

    async def is_under_way() -> bool:
        return 0 < await old_left() < 6_000

    killed = await asyncio.create_subprocess_exec(*command, env=environment)
    await eventually(is_under_way, within_seconds=60)
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    assert await old_left() > 0
    writer = asyncio.create_task(_insert_for_a_while(database))
    rest = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(rest.communicate(), 60)
    await writer
    assert rest.returncode == 0
    assert b"no token of another key is left" in output
    assert len(await values(database)) == 6_500
    audit = await fetch(database, "SELECT outcome FROM consumer.audit WHERE action = 'remask'")
    assert [row[0] for row in audit] == ["begun", "begun", "nothing of other keys left"]


async def _insert_for_a_while(dsn: str) -> None:
    for start in range(6_000, 6_500, 50):
        await insert(dsn, NEW, range(start, start + 50))


@pytest.mark.parametrize("stage", ["finding old tokens", "rewriting rows"])
async def test_progress_ends_with_all_pages(database: str, stage: str) -> None:
    await insert(database, OLD, range(1_000))
    shown: list[Progress] = []
    await run(database, show=shown.append)
    last = [each for each in shown if each.stage == stage][-1]
    assert last.pages == last.of_pages > 0
