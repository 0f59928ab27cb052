"""One name, one key."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from consumer.errors import KeyRingError
from consumer.postgres import Server, connected, guard_keys


@pytest.fixture
async def connection(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(Server(any_database)) as connection:
        yield connection


async def test_known_keys_pass_and_new_ones_are_remembered(connection: asyncpg.Connection) -> None:
    checks = {"k1": secrets.token_bytes(32)}
    await guard_keys(connection, checks)
    await guard_keys(connection, checks | {"k2": secrets.token_bytes(32)})
    await guard_keys(connection, checks)
    names = await connection.fetch("SELECT kid FROM consumer.masking_keys ORDER BY kid")
    assert [name[0] for name in names] == ["k1", "k2"]


async def test_another_key_under_a_known_name_is_refused(connection: asyncpg.Connection) -> None:
    known, other = secrets.token_bytes(32), secrets.token_bytes(32)
    await guard_keys(connection, {"k1": known})
    with pytest.raises(KeyRingError, match="k1") as caught:
        await guard_keys(connection, {"k0": known, "k1": other})
    assert other.hex() not in str(caught.value)
    await guard_keys(connection, {"k1": known})


async def test_replicas_that_start_at_once_agree_on_one_key(any_database: str) -> None:
    async def start() -> bool:
        async with connected(Server(any_database)) as connection:
            try:
                await guard_keys(connection, {"k1": secrets.token_bytes(32)})
            except KeyRingError:
                return False
        return True

    assert sorted(await asyncio.gather(*(start() for _ in range(8)))) == [False] * 7 + [True]
