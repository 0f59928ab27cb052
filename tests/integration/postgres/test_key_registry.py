"""No two keys have the same name."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from consumer.errors import KeyRingError
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.key_registry import first_seen, register_fingerprints


@pytest.fixture
async def connection(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(ConnectionSettings(any_database)) as connection:
        yield connection


async def test_known_keys_pass_and_new_ones_are_registered(connection: asyncpg.Connection) -> None:
    fingerprints = {"k1": secrets.token_bytes(32)}
    await register_fingerprints(connection, fingerprints)
    await register_fingerprints(connection, fingerprints | {"k2": secrets.token_bytes(32)})
    await register_fingerprints(connection, fingerprints)
    names = await connection.fetch("SELECT kid FROM consumer.masking_keys ORDER BY kid")
    assert [name[0] for name in names] == ["k1", "k2"]


async def test_another_key_under_a_known_name_is_refused(connection: asyncpg.Connection) -> None:
    known, other = secrets.token_bytes(32), secrets.token_bytes(32)
    await register_fingerprints(connection, {"k1": known})
    with pytest.raises(KeyRingError, match="k1") as caught:
        await register_fingerprints(connection, {"k0": known, "k1": other})
    assert other.hex() not in str(caught.value)
    await register_fingerprints(connection, {"k1": known})


async def test_a_ring_that_is_refused_leaves_its_other_names_free(
    connection: asyncpg.Connection,
) -> None:
    await register_fingerprints(connection, {"k1": secrets.token_bytes(32)})
    with pytest.raises(KeyRingError):
        await register_fingerprints(connection, {"k1": secrets.token_bytes(32), "k2": b"mistaken"})
    assert list(await first_seen(connection)) == ["k1"]


async def test_every_key_that_differs_is_named(connection: asyncpg.Connection) -> None:
    await register_fingerprints(connection, {"k1": b"one", "k2": b"two", "k3": b"three"})
    with pytest.raises(KeyRingError) as refused:
        await register_fingerprints(connection, {"k1": b"other", "k2": b"two", "k3": b"other"})
    assert [fault[:3] for fault in refused.value.faults] == ["k1 ", "k3 "]


@pytest.mark.parametrize("replicas", [2, 16])
async def test_replicas_that_start_at_once_agree_on_one_ring(
    any_database: str, replicas: int
) -> None:
    ready = asyncio.Barrier(replicas)

    async def start() -> dict[str, bytes] | None:
        fingerprints = {"k1": secrets.token_bytes(32), "k2": secrets.token_bytes(32)}
        async with connected(ConnectionSettings(any_database)) as connection:
            await ready.wait()
            try:
                await register_fingerprints(connection, fingerprints)
            except KeyRingError:
                return None
        return fingerprints

    agreed = [ring for ring in await asyncio.gather(*(start() for _ in range(replicas))) if ring]
    async with connected(ConnectionSettings(any_database)) as connection:
        known = await connection.fetch("SELECT kid, fingerprint FROM consumer.masking_keys")
    assert agreed == [{record["kid"]: record["fingerprint"] for record in known}]


async def test_replicas_with_the_same_ring_all_start_at_once(any_database: str) -> None:
    fingerprints = {"k1": secrets.token_bytes(32), "k2": secrets.token_bytes(32)}

    async def start() -> None:
        async with connected(ConnectionSettings(any_database)) as connection:
            await register_fingerprints(connection, fingerprints)

    await asyncio.gather(*(start() for _ in range(16)))
