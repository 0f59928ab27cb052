"""What is left of a key in the table and in the quarantine."""

import asyncpg
import pytest

from consumer.errors import DatabaseRefusedError
from consumer.events.model import tokens_of
from consumer.events.user_login import UserLogin
from consumer.officer.keys.key_usage import key_usage
from consumer.postgres.connection import ConnectionSettings, connected

_COLUMNS = tuple(token.column for token in tokens_of(UserLogin))


async def _insert(connection: asyncpg.Connection, ip: str | None, device: str | None) -> None:
    await connection.execute(
        "INSERT INTO user_logins (user_id, masked_ip, masked_device_id) VALUES ('u', $1, $2)",
        ip,
        device,
    )


async def _quarantine(connection: asyncpg.Connection, kid: str) -> None:
    await connection.execute(
        "INSERT INTO consumer.quarantine (slot, message_id, sent_at, event, reason, kid,"
        " sealed_body) VALUES (1, gen_random_uuid(), now(), 'other_event', 'not_json', $1, '')",
        kid,
    )


async def test_rows_count_by_column_and_bodies_of_all_events(any_database: str) -> None:
    async with connected(ConnectionSettings(any_database)) as connection:
        await _insert(connection, "k1.abc", "k1.abc")
        await _insert(connection, "k1.abc", None)
        await _insert(connection, "k2.k1.", "k2.abc")
        await _quarantine(connection, "k1")
        left = await key_usage(connection, "user_logins", _COLUMNS, "k1")
    assert left.rows == {"masked_ip": 2, "masked_device_id": 1}
    assert left.bodies == 1
    assert left
    assert str(left) == "2 rows of masked_ip, 1 row of masked_device_id, 1 quarantined body"


async def test_a_key_whose_name_begins_like_anothers_is_not_mistaken_for_it(database: str) -> None:
    async with connected(ConnectionSettings(database)) as connection:
        await _insert(connection, "k11.abc", "k11.abc")
        await _quarantine(connection, "k11")
        left = await key_usage(connection, "user_logins", _COLUMNS, "k1")
        assert not left
        assert str(left) == "nothing"
        await _quarantine(connection, "k1")
        assert await key_usage(connection, "user_logins", _COLUMNS, "k1")


async def test_an_optional_column_counts_where_the_table_has_it(database: str) -> None:
    async with connected(ConnectionSettings(database)) as connection:
        await connection.execute("ALTER TABLE user_logins ADD COLUMN ip_subnet_masked text")
        await connection.execute(
            "INSERT INTO user_logins (ip_subnet_masked) VALUES ('k1.10.0.0.1')"
        )
        left = await key_usage(connection, "user_logins", _COLUMNS, "k1")
    assert left.rows["ip_subnet_masked"] == 1


async def test_a_missing_table_proves_nothing(empty_database: str) -> None:
    async with connected(ConnectionSettings(empty_database)) as connection:
        with pytest.raises(DatabaseRefusedError, match="user_logins is missing"):
            await key_usage(connection, "user_logins", _COLUMNS, "k1")
