"""Databases for tests: each test has its own, made from a template in milliseconds."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from consumer.embedded.postgres import PostgresServer
from consumer.postgres import Server, connected, migrate
from consumer.tables import Column, Kind, Table

USER_LOGINS = Table(
    "user_logins",
    (
        Column("user_id", (Kind.TEXT,), 128),
        Column("device_type", (Kind.TEXT,), 32),
        Column("masked_ip", (Kind.TEXT,), 256),
        Column("masked_device_id", (Kind.TEXT,), 256),
        Column("locale", (Kind.TEXT,), 32),
        Column("app_version", (Kind.TEXT, Kind.INTEGER), 32),
        Column("create_date", (Kind.DATE,)),
    ),
)


class Databases:
    """Makes and drops databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._template: str | None = None

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """The DSN of a new, empty database."""
        async with self._fresh("template1") as dsn:
            yield dsn

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """The DSN of a new database with all tables, as `consumer migrate` makes them."""
        if self._template is None:
            self._template = await self._make_template()
        async with self._fresh(self._template) as dsn:
            yield dsn

    async def _make_template(self) -> str:
        name = "migrated"
        await self._run(f"CREATE DATABASE {name}")
        async with connected(Server(self.server.dsn(name))) as connection:
            await migrate(connection, USER_LOGINS)
        return name

    @asynccontextmanager
    async def _fresh(self, template: str) -> AsyncIterator[str]:
        name = f"test_{uuid.uuid4().hex}"
        await self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
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
