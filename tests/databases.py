"""Databases for tests: each test has its own, made from a template in milliseconds."""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from consumer.events.model import duplicates_views_of, table_of
from consumer.events.user_login import UserLogin
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import migrate
from devkit.postgres import FAST_SETTINGS, PostgresServer

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 the launcher uses mkdtemp
_ROOM_BYTES = 2 << 30


def start_postgres(bindir: Path | None = None) -> PostgresServer:
    """A server for tests; in memory where there is room: making a database is 30 times faster."""
    roomy = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM_BYTES
    return PostgresServer.start(
        bindir=bindir,
        temporary_in=_IN_MEMORY if roomy else None,
        settings={**FAST_SETTINGS, "max_wal_size": "128MB", "track_commit_timestamp": "on"},
    )


class Databases:
    """Makes and drops databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._template: str | None = None

    @asynccontextmanager
    async def empty(self, options: str = "TEMPLATE template1") -> AsyncIterator[str]:
        """The DSN of a new, empty database; `options` are those of CREATE DATABASE."""
        async with self._fresh(options) as dsn:
            yield dsn

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """The DSN of a new database with all tables, as `consumer migrate` makes them."""
        if self._template is None:
            self._template = await self._make_template()
        async with self._fresh(f"TEMPLATE {self._template}") as dsn:
            yield dsn

    async def _make_template(self) -> str:
        name = "migrated"
        await self._run(f"CREATE DATABASE {name}")
        async with connected(ConnectionSettings(self.server.dsn(name))) as connection:
            await migrate(connection, table_of(UserLogin), duplicates_views_of(UserLogin))
        return name

    @asynccontextmanager
    async def _fresh(self, options: str) -> AsyncIterator[str]:
        name = f"test_{uuid.uuid4().hex}"
        # Files are copied in half the time that writing every page to the log takes.
        await self._run(f"CREATE DATABASE {name} {options} STRATEGY file_copy")
        try:
            yield self.server.dsn(name)
        finally:
            self.server.start_again()
            await self._run(f"DROP DATABASE {name} WITH (FORCE)")

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn(), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close(timeout=10)


def at_port(dsn: str, port: int) -> str:
    """The same database through what listens on another port of this machine."""
    parts = urlsplit(dsn)
    host = f"{parts.username}:{parts.password}@127.0.0.1:{port}"
    return parts._replace(netloc=host).geturl()


def as_role(dsn: str, role: str, password: str | None = None) -> str:
    """The same database as another role, whose password is the superuser's unless one is given."""
    parts = urlsplit(dsn)
    login = f"{role}:{parts.password if password is None else password}"
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()


def login_of(dsn: str) -> str:
    """What lets a new role log in with the superuser's password: options of CREATE ROLE."""
    return f"LOGIN PASSWORD '{urlsplit(dsn).password}'"
