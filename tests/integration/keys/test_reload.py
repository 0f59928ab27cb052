"""SIGHUP: a running consumer changes to a new key ring, or keeps the current one."""

import asyncio
import json
import os
import re
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import kid_of
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.key_registry import register_fingerprints
from tests.aws import AwsAdmin
from tests.consumers import Place, Running
from tests.feeds import OURS
from tests.waiting import eventually
from tests.written import assert_written

_DEADLINE_SECONDS = 60.0
_LOGINS = OURS.read_text().splitlines()
ONE = KeyRing.generate("k1", secrets.token_bytes)
BOTH = ONE.with_new("k2", secrets.token_bytes)
TWO = BOTH.promoted("k2")


def logins(first: int, count: int) -> list[str]:
    """Valid events, each one's user numbered, of 90 addresses and devices over and over."""
    good = [line for line in _LOGINS if '"ip"' in line]
    return [
        good[number % 90].replace('"user_id": "', f'"user_id": "{number}-')
        for number in range(first, first + count)
    ]


@dataclass(frozen=True)
class Reloadable:
    """A place whose ring is in a file that can be changed."""

    place: Place
    ring_path: Path

    def put(self, ring: KeyRing) -> None:
        """As `consumer keys` does it: in one step."""
        self.put_text(ring.to_json())

    def put_text(self, text: str) -> None:
        unfinished = self.ring_path.with_suffix(".new")
        unfinished.write_text(text)
        unfinished.chmod(0o600)
        unfinished.replace(self.ring_path)

    @asynccontextmanager
    async def running(self, **variables: str) -> AsyncIterator[Running]:
        consumer = self.place.consumer.but(
            CONSUMER_MASKING__KEYRING="",
            CONSUMER_MASKING__KEYRING_FILE=str(self.ring_path),
            CONSUMER_SQS__WAIT_SECONDS="1",
            **variables,
        )
        async with consumer.running("run") as running:
            await running.logged("consuming")
            yield running

    async def kids(self) -> Counter[str | None]:
        """How many rows have tokens of each key."""
        async with connected(ConnectionSettings(self.place.dsn)) as connection:
            tokens = await connection.fetch("SELECT masked_device_id FROM user_logins")
        return Counter(kid_of(record[0]) for record in tokens if record[0])

    async def written(self, count: int) -> None:
        async def are_written() -> bool:
            return (await self.kids()).total() >= count and self.place.is_clean()

        await eventually(are_written, within_seconds=_DEADLINE_SECONDS)


@pytest.fixture
def here_too(here: Place, tmp_path: Path) -> Reloadable:
    reloadable = Reloadable(here, tmp_path / "ring.json")
    reloadable.put(ONE)
    return reloadable


def tells(running: Running, text: str) -> bool:
    return any(text in line for line in running.err)


async def scraped(running: Running) -> str:
    port = (await running.logged("listening"))["port"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return await answer.text()


async def test_under_load_tokens_become_the_new_keys_and_no_message_is_lost(
    here_too: Reloadable,
) -> None:
    place = here_too.place
    place.send(*logins(0, 1500))
    async with here_too.running(CONSUMER_FLOW__MAX_BATCH_ROWS="20") as running:

        async def some_are_written() -> bool:
            return (await here_too.kids())["k1"] >= 100

        await eventually(some_are_written, within_seconds=_DEADLINE_SECONDS)
        here_too.put(TWO)
        running.process.send_signal(signal.SIGHUP)
        place.send(*logins(1500, 1500))
        reloaded = await running.logged("key ring reloaded")
        assert (reloaded["primary"], reloaded["keys"]) == ("k2", 2)
        place.send(*logins(3000, 300))
        await eventually(place.is_clean, within_seconds=_DEADLINE_SECONDS)
        metrics = await scraped(running)
        ended = await running.stopped()
    assert ended.code == 0, ended.err
    kids = await here_too.kids()
    assert kids["k1"] > 0
    assert kids["k2"] >= 300
    async with connected(ConnectionSettings(place.dsn)) as connection:
        rows = await connection.fetch("SELECT user_id, masked_device_id FROM user_logins")
    # Whichever key a row was masked with, it is its message's, and each message is one row.
    recover = masks_of(UserLogin, TWO)["masked_device_id"].recover
    assert Counter((row["user_id"], recover(row["masked_device_id"])) for row in rows) == Counter(
        (event["user_id"], event["device_id"]) for event in map(json.loads, logins(0, 3300))
    )
    assert 'consumer_keyring_info{primary="k2"} 1.0' in metrics
    assert 'consumer_keyring_reloads_total{outcome="loaded"} 1.0' in metrics


async def test_after_a_reload_each_row_is_what_the_new_ring_makes_of_its_message(
    here_too: Reloadable,
) -> None:
    async with here_too.running() as running:
        here_too.put(TWO)
        running.process.send_signal(signal.SIGHUP)
        await running.logged("key ring reloaded")
        sent = here_too.place.send(*logins(0, 50), "not an event")
        await eventually(here_too.place.is_clean, within_seconds=_DEADLINE_SECONDS)
        await here_too.written(1)
    await assert_written(here_too.place.dsn, TWO.to_json(), sent)


# Another key by the name of k1, and one that is new.
OTHER = KeyRing.generate("k1", secrets.token_bytes).with_new("k3", secrets.token_bytes)


WRONG = {
    "it is not JSON": ONE.to_json()[:-20],
    "exactly one key is active": ONE.to_json().replace("active", "decrypt"),
    "k1 is not the key that this database knows as k1": OTHER.to_json(),
}


async def test_a_wrong_ring_is_rejected_with_one_line_and_the_current_one_stays(
    here_too: Reloadable,
) -> None:
    async with here_too.running() as running:
        for says, text in WRONG.items():
            here_too.put_text(text)
            running.process.send_signal(signal.SIGHUP)
            await eventually(partial(tells, running, says))
        sent = here_too.place.send(*logins(0, 20))
        await here_too.written(1)
        metrics = await scraped(running)
        ended = await running.stopped()
    assert ended.code == 0
    refusals = [json.loads(line)["why"] for line in running.err if "reload rejected" in line]
    assert len(refusals) == len(WRONG)
    assert all(says in why for says, why in zip(WRONG, refusals, strict=True))
    for secret in re.findall(r'"key": "([^"]{20})', "".join(WRONG.values())):
        assert secret not in ended.err
    await assert_written(here_too.place.dsn, ONE.to_json(), sent)
    assert 'consumer_keyring_info{primary="k1"} 1.0' in metrics
    assert 'consumer_keyring_reloads_total{outcome="refused"} 3.0' in metrics
    async with connected(ConnectionSettings(here_too.place.dsn)) as connection:
        await register_fingerprints(connection, {"k3": os.urandom(32)})  # the name is free still


async def test_a_ring_that_was_rejected_is_loaded_once_it_is_right(
    here_too: Reloadable,
) -> None:
    async with here_too.running() as running:
        here_too.ring_path.unlink()
        running.process.send_signal(signal.SIGHUP)
        await running.logged("key ring reload rejected, keeping the current one")
        here_too.put(TWO)
        running.process.send_signal(signal.SIGHUP)
        await running.logged("key ring reloaded")
        here_too.place.send(*logins(0, 20))
        await here_too.written(1)
        assert set(await here_too.kids()) == {"k2"}


async def test_a_ring_in_a_variable_cannot_be_reloaded_and_the_log_says_so(here: Place) -> None:
    consumer = here.consumer.but(CONSUMER_SQS__WAIT_SECONDS="1")
    async with consumer.running("run") as running:
        await running.logged("consuming")
        running.process.send_signal(signal.SIGHUP)
        refused = await running.logged("key ring reload rejected, keeping the current one")
        assert "set masking.keyring_file" in str(refused["why"])
        assert (await running.stopped()).code == 0


async def test_a_ring_of_secrets_manager_is_read_again(here: Place, aws_admin: AwsAdmin) -> None:
    name = f"ring-{secrets.token_hex(8)}"
    await aws_admin.put_secret(name, ONE.to_json())
    consumer = here.consumer.but(
        CONSUMER_MASKING__KEYRING="",
        CONSUMER_MASKING__KEYRING_SOURCE=f"secretsmanager:{name}",
        CONSUMER_SQS__REGION="eu-central-1",
        CONSUMER_SQS__WAIT_SECONDS="1",
        AWS_ENDPOINT_URL=aws_admin.url,
        CONSUMER_SQS__ENDPOINT_URL=here.sqs.endpoint_url,
    )
    async with consumer.running("run") as running:
        await running.logged("consuming")
        await aws_admin.replace_secret(name, TWO.to_json())
        running.process.send_signal(signal.SIGHUP)
        assert (await running.logged("key ring reloaded"))["primary"] == "k2"
        assert (await running.stopped()).code == 0


async def test_a_start_waits_for_secrets_manager_and_a_refusal_ends_it(
    here: Place, aws_admin: AwsAdmin
) -> None:
    consumer = here.consumer.but(
        CONSUMER_MASKING__KEYRING="",
        CONSUMER_MASKING__KEYRING_SOURCE="secretsmanager:nothing",
        CONSUMER_SQS__REGION="eu-central-1",
        CONSUMER_SQS__WAIT_SECONDS="1",
        CONSUMER_SQS__ENDPOINT_URL=here.sqs.endpoint_url,
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
    )
    async with consumer.running("run") as running:
        waiting = await running.logged("key ring read failed")
        assert (waiting["operation"], waiting["code"]) == (
            "GetSecretValue",
            "EndpointConnectionError",
        )
        assert (await running.stopped()).code == 0
    refused = await consumer.but(AWS_ENDPOINT_URL=aws_admin.url).run("run")
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith(
        "Error: key ring: GetSecretValue: ResourceNotFoundException"
    )


async def test_a_replica_with_another_key_stops_before_it_writes(here_too: Reloadable) -> None:
    async with connected(ConnectionSettings(here_too.place.dsn)) as connection:
        await register_fingerprints(
            connection, KeyRing.generate("k1", secrets.token_bytes).fingerprints()
        )
    here_too.place.send(*logins(0, 20))
    consumer = here_too.place.consumer.but(
        CONSUMER_MASKING__KEYRING="", CONSUMER_MASKING__KEYRING_FILE=str(here_too.ring_path)
    )
    ended = await consumer.run("drain")
    assert ended.code == 1
    assert "k1 is not the key that this database knows as k1" in ended.err
    assert here_too.place.queue.visible == 20
    assert not await here_too.kids()


async def test_replicas_that_race_at_the_first_start_agree_on_one_key(here: Place) -> None:
    here.send(*logins(0, 200))
    rings = [KeyRing.generate("k1", secrets.token_bytes) for _ in range(2)]
    ended = await asyncio.gather(
        *(here.consumer.but(CONSUMER_MASKING__KEYRING=r.to_json()).run("drain") for r in rings)
    )
    assert sorted(each.code for each in ended) == [0, 1]
    agreed = rings[[each.code for each in ended].index(0)]
    async with connected(ConnectionSettings(here.dsn)) as connection:
        await register_fingerprints(connection, agreed.fingerprints())
        assert await connection.fetchval("SELECT count(*) FROM user_logins") == 200
