"""Through PgBouncer's transaction mode, where a session changes its server at every commit."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.errors import DatabaseError
from consumer.messages import Outcome, Written
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.inspect import inspect_table
from consumer.postgres.key_registry import register_fingerprints
from consumer.postgres.schema import migrate, prune_ledger
from consumer.postgres.sink import PostgresSink
from tests.databases import at_port
from tests.integration.postgres.outcomes import KINDS, SENT_MS, USER_LOGINS, WRITE, quarantined, row
from tests.pgbouncer import find_pgbouncer, running_pgbouncer

PGBOUNCER = find_pgbouncer()

pytestmark = [
    pytest.mark.as_root,
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody may enter, unlike pytest's: PgBouncer does not run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
async def pooled(database: str, folder: Path) -> AsyncIterator[ConnectionSettings]:
    """The database behind a PgBouncer with two server connections in transaction mode."""
    assert PGBOUNCER is not None
    async with running_pgbouncer(PGBOUNCER, folder, database, connections=2) as port:
        yield ConnectionSettings(at_port(database, port), statement_cache_size=0, max_connections=6)


async def test_more_writers_than_server_connections_write_each_message_once(
    pooled: ConnectionSettings, database: str
) -> None:
    batches: list[list[Outcome]] = [[row(), row(), quarantined()] for _ in range(60)]
    async with PostgresSink(pooled, WRITE) as sink:
        counts = await asyncio.gather(*(sink.write(batch) for batch in [*batches, *batches]))
    assert sum(count.rows for count in counts) == 120
    assert sum(count.duplicates for count in counts) == 180
    async with connected(ConnectionSettings(database)) as reader:
        assert await reader.fetchval("SELECT count(*) FROM user_logins") == 120
        assert await reader.fetchval("SELECT count(*) FROM consumer.quarantine") == 60


async def test_a_forgotten_setting_is_named(pooled: ConnectionSettings) -> None:
    forgotten = replace(pooled, statement_cache_size=100)
    async with PostgresSink(forgotten, WRITE) as sink:
        with pytest.raises(DatabaseError, match="set statement_cache_size to 0"):
            await sink.write([row()])


async def test_commands_work_through_it_too(pooled: ConnectionSettings) -> None:
    async with connected(pooled) as connection:
        assert await migrate(connection, USER_LOGINS) == ()
        assert await inspect_table(connection, USER_LOGINS) == KINDS
        await register_fingerprints(connection, {"k1": b"a fingerprint"})
    message = row().message
    assert message.sent_ms == SENT_MS
    async with PostgresSink(pooled, WRITE) as sink, connected(pooled) as connection:
        assert await sink.write([row()]) == Written(1, {}, 0)
        assert await prune_ledger(connection) in ((message.slot,), ())  # by today
