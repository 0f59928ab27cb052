"""A rotation of keys while two replicas consume: nothing is lost, and duplicates stay visible."""

import asyncio
import itertools
import json
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.postgres.connection import ConnectionSettings, connected
from tests.consumers import CommandLine, Place, Running
from tests.feeds import OURS
from tests.waiting import eventually

DEVICE = "593-47-5928"
_LOGIN = json.loads(OURS.read_text().splitlines()[0])
_WITHIN_SECONDS = 60.0

_SEEN = """
    SELECT
        (SELECT array_agg(events) FROM consumer.repeated_devices WHERE token = ANY ($1)) AS shown,
        (SELECT count(*) FROM user_logins WHERE masked_device_id = ANY ($1)) AS events
"""


class Rotation:
    """A feed that does not end, the ring's file, and what an analyst sees meanwhile."""

    def __init__(self, place: Place, connection: asyncpg.Connection, ring_path: Path) -> None:
        self.place = place
        self.connection = connection
        self.ring = KeyRing.parse(place.ring_json)
        self.samples: list[tuple[list[int], int]] = []
        self._ring_path = ring_path
        self._numbers = itertools.count()
        self.sent = 0

    def use(self, ring: KeyRing) -> None:
        self.ring = ring
        self._ring_path.write_text(ring.to_json())

    async def feed(self) -> None:
        """Send a few events whenever all before them are done, half of them of one device."""
        while True:
            for _ in range(4):
                number = next(self._numbers)
                device = DEVICE if number % 2 else f"device {number}"
                event = {**_LOGIN, "user_id": f"user {number}", "device_id": device}
                self.place.send(json.dumps(event))
                self.sent += 1
            await eventually(self.place.is_clean, within_seconds=_WITHIN_SECONDS)
            await self.sample()

    async def sample(self) -> None:
        mask = masks_of(UserLogin, self.ring)["masked_device_id"]
        seen = await self.connection.fetchrow(_SEEN, list(mask.tokens(DEVICE)))
        assert seen is not None
        self.samples.append((seen["shown"] or [], seen["events"]))

    async def more_rows(self, kid: str) -> None:
        """Wait until rows of this key have come."""
        query = "SELECT count(*) FROM user_logins WHERE masked_device_id LIKE $1"
        async with connected(ConnectionSettings(self.place.dsn)) as connection:
            before = await connection.fetchval(query, f"{kid}.%")

            async def more() -> bool:
                return bool(await connection.fetchval(query, f"{kid}.%") > before)

            await eventually(more, within_seconds=_WITHIN_SECONDS)


@pytest.fixture
async def rotation(here: Place, tmp_path: Path) -> AsyncIterator[Rotation]:
    path = tmp_path / "ring.json"
    path.touch(0o600)
    path.write_text(here.ring_json)
    async with connected(ConnectionSettings(here.dsn)) as connection:
        yield Rotation(here, connection, path)


def reloads(replica: Running) -> int:
    return sum('"key ring reloaded"' in line for line in replica.err)


async def reload(replicas: list[Running]) -> None:
    before = [reloads(replica) for replica in replicas]
    for replica in replicas:
        replica.process.send_signal(signal.SIGHUP)

    def all_have() -> bool:
        return all(reloads(each) > count for each, count in zip(replicas, before, strict=True))

    await eventually(all_have, within_seconds=_WITHIN_SECONDS)


async def remask(consumer: CommandLine, *options: str) -> None:
    ended = await consumer.run("remask", "--pages-a-batch", "16", *options)
    assert (ended.code, ended.err) == (0, "")


async def test_duplicates_of_a_device_are_found_before_during_and_after(
    rotation: Rotation, tmp_path: Path
) -> None:
    consumer = rotation.place.consumer.but(
        CONSUMER_SQS__WAIT_SECONDS="1",
        CONSUMER_MASKING__KEYRING="",
        CONSUMER_MASKING__KEYRING_FILE=str(tmp_path / "ring.json"),
    )
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(consumer.running("run")) for _ in range(2)]
        for replica in replicas:  # before it handles SIGHUP, one would end it
            await replica.logged("consuming")
        feed = asyncio.create_task(rotation.feed())
        await rotation.more_rows("k1")
        rotation.use(rotation.ring.with_new("k2", secrets.token_bytes))
        await reload(replicas)
        await remask(consumer, "--prepare", "k2")
        rotation.use(rotation.ring.promoted("k2"))
        await reload(replicas)
        await rotation.more_rows("k2")
        await remask(consumer)
        rotation.use(rotation.ring.without("k1"))
        await reload(replicas)
        await rotation.more_rows("k2")
        feed.cancel()
        await asyncio.wait([feed])
        await eventually(rotation.place.is_clean, within_seconds=_WITHIN_SECONDS)
        assert [(await replica.stopped()).code for replica in replicas] == [0, 0]
    await rotation.sample()
    repeated = [(shown, events) for shown, events in rotation.samples if events > 1]
    assert repeated
    assert all(shown == [events] for shown, events in repeated)
    async with connected(ConnectionSettings(rotation.place.dsn)) as connection:
        assert await connection.fetchval("SELECT count(*) FROM user_logins") == rotation.sent
