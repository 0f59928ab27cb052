"""The benchmark's PostgreSQL: with durable commits, and all its defaults."""

import asyncio
import time

import psutil

from consumer.events.model import duplicates_views_of, table_of
from consumer.events.user_login import UserLogin
from consumer.messages import LEDGER_SLOTS
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import migrate
from devkit.postgres import PostgresServer

_FILLED_DAYS = 16

_FILL_SLOT = """
    INSERT INTO consumer.ledger (slot, message_id)
    SELECT $1::smallint, message_id FROM (
        SELECT gen_random_uuid() AS message_id FROM generate_series(1, $2::bigint)
    ) AS made ORDER BY message_id
"""
_LEDGER_BYTES = """
    SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
    WHERE inhparent = 'consumer.ledger'::regclass
"""


class Database:
    """One database on a server of its own."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.dsn = server.dsn()
        asyncio.run(self._migrate())

    async def _migrate(self) -> None:
        async with connected(ConnectionSettings(self.dsn)) as connection:
            await migrate(connection, table_of(UserLogin), duplicates_views_of(UserLogin))

    def version(self) -> str:
        """PostgreSQL's version."""
        return str(self._value("SHOW server_version"))

    def cpu_seconds(self) -> float:
        """CPU of the whole server so far: of its living processes, and of those that ended."""
        while True:
            try:
                return self._cpu_seconds()
            except psutil.NoSuchProcess:
                continue  # a backend ended meanwhile; its CPU counts as the postmaster's by now

    def _cpu_seconds(self) -> float:
        postmaster = psutil.Process(self._server.pid)
        ended = postmaster.cpu_times()
        total = ended.user + ended.system + ended.children_user + ended.children_system
        for process in postmaster.children(recursive=True):
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def empty(self) -> None:
        """Empty the tables, and write what is pending, so that no run pays for another."""
        self._execute("TRUNCATE public.user_logins, consumer.ledger, consumer.quarantine")
        self._execute("CHECKPOINT")

    def rows(self) -> int:
        """How many rows the events' table has."""
        return self._number("SELECT count(*) FROM public.user_logins")

    def fill_ledger(self, rows: int) -> float:
        """Fill the slots of the last 16 days evenly; return how many seconds it took."""
        began = time.monotonic()
        asyncio.run(self._fill_ledger(rows))
        self._execute("VACUUM ANALYZE consumer.ledger")
        self._execute("CHECKPOINT")
        return time.monotonic() - began

    async def _fill_ledger(self, rows: int) -> None:
        today = int(time.time()) // 86_400
        async with connected(ConnectionSettings(self.dsn)) as connection:
            for day in range(today - _FILLED_DAYS + 1, today + 1):
                slot, count = day % LEDGER_SLOTS, rows // _FILLED_DAYS
                await connection.execute(_FILL_SLOT, slot, count, timeout=600)

    def ledger_bytes(self) -> int:
        """The size of the ledger with its indexes."""
        return self._number(_LEDGER_BYTES)

    def truncate_oldest_slot(self) -> tuple[int, float]:
        """Empty the oldest filled slot; return how many rows it had, and the seconds it took."""
        slot = (int(time.time()) // 86_400 - _FILLED_DAYS + 1) % LEDGER_SLOTS
        rows = self._number(f"SELECT count(*) FROM consumer.ledger_{slot:02}")  # noqa: S608 a number
        began = time.monotonic()
        self._execute(f"TRUNCATE consumer.ledger_{slot:02}")
        return rows, time.monotonic() - began

    def _number(self, query: str) -> int:
        value = self._value(query)
        assert isinstance(value, int)
        return value

    def _value(self, query: str) -> object:
        async def ask() -> object:
            async with connected(ConnectionSettings(self.dsn)) as connection:
                value: object = await connection.fetchval(query)
            return value

        return asyncio.run(ask())

    def _execute(self, statement: str) -> None:
        async def execute() -> None:
            async with connected(ConnectionSettings(self.dsn)) as connection:
                await connection.execute(statement, timeout=600)

        asyncio.run(execute())
