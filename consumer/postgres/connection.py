"""Connections: how one is opened, reused, replaced and closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from consumer.errors import DatabaseError, DatabaseRefusedError, StatementTooSlowError
from consumer.postgres.dsn import parse_dsn
from consumer.postgres.errors import FAILURES, Ends, ends, translated
from consumer.postgres.queries import load_queries
from consumer.runtime import enable_tcp_keepalive

_FILTERED_TABLES = load_queries(__package__, "sql/queries.sql")["filtered_tables"]
_INSUFFICIENT_PRIVILEGE = "42501"
_CLOSE_SECONDS = 1.0
# The server ends a statement before we do, so that a slow one does not look like a dead link.
_SERVER_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where PostgreSQL is, and the limits of connections and statements.

    The DSN's connect_timeout may shorten `connect_timeout_seconds`, and its application_name takes
    the place of ours.

    `statement_cache_size` is 0 behind PgBouncer's transaction mode: then nothing is set for the
    session, because the next statement may run in another one.
    """

    dsn: str = field(repr=False)
    connect_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 30.0
    max_connections: int = 4
    max_connection_age_seconds: float = 1800.0
    statement_cache_size: int = 100
    application_name: str = "login-consumer"

    @property
    def pooled(self) -> bool:
        """Whether a pooler in transaction mode stands between us and the server."""
        return self.statement_cache_size == 0


async def connect(settings: ConnectionSettings, **session: str) -> asyncpg.Connection:
    """Open a connection to a server that takes writes.

    `session` are settings of PostgreSQL for it; behind PgBouncer they are left out.

    Raises:
        DatabaseRefusedError: a wrong DSN, user, password or database.
        DatabaseError: it could not be reached in `connect_timeout_seconds`.
    """
    # ValueError: the port is no number, or the parameters are malformed.
    with translated((*FAILURES, ValueError)):
        dsn = parse_dsn(settings.dsn)
        seconds = dsn.connect_timeout_seconds or settings.connect_timeout_seconds
        seconds = min(seconds, settings.connect_timeout_seconds)
        server_settings = {"application_name": dsn.application_name or settings.application_name}
        if not settings.pooled:
            # array_literal needs array_nulls, whatever the role's is.
            server_settings |= {"array_nulls": "on", **session}
        async with asyncio.timeout(seconds):
            connection = await asyncpg.connect(
                dsn.text,
                timeout=seconds,
                statement_cache_size=settings.statement_cache_size,
                server_settings=server_settings,
                target_session_attrs=SessionAttribute.read_write,
            )
    # asyncpg has no public way to its transport.
    enable_tcp_keepalive(connection._transport)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    return connection


async def close(connection: asyncpg.Connection) -> None:
    """Close a healthy connection; wait a second at most for the server to agree."""
    try:
        with suppress(*FAILURES):  # nothing that follows needs its answer
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.close()
    finally:
        connection.terminate()


@asynccontextmanager
async def connected(settings: ConnectionSettings) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a command; raises what `connect` raises.

    A statement from which row-level security would hide rows fails. Behind PgBouncer there is no
    such setting, so the connection is refused if this role may read any such table.
    """
    connection = await connect(settings, row_security="off")
    try:
        if settings.pooled:
            await _refuse_if_rows_are_hidden(connection)
        yield connection
    except BaseException:
        # close() waits for an answer, on a dead server forever (asyncpg#1326).
        connection.terminate()
        raise
    await close(connection)


async def _refuse_if_rows_are_hidden(connection: asyncpg.Connection) -> None:
    with translated():
        tables = await connection.fetchval(_FILTERED_TABLES)
    if tables:
        advice = f"row-level security of {tables} hides rows from this role: give it BYPASSRLS"
        raise DatabaseRefusedError(_INSUFFICIENT_PRIVILEGE, advice)


@asynccontextmanager
async def briefly_connected(settings: ConnectionSettings) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a few quick statements; all together may take as long as one.

    Raises:
        DatabaseError: from connecting, or because it took longer.
    """
    seconds = settings.connect_timeout_seconds + settings.statement_timeout_seconds
    with translated((TimeoutError,)):
        async with asyncio.timeout(seconds), connected(settings) as connection:
            yield connection


@dataclass(frozen=True, slots=True)
class _Opened:
    connection: asyncpg.Connection = field(repr=False)
    generation: int
    at: float


class Connections:
    """At most `settings.max_connections` connections, reused while idle; use as a context manager.

    Not asyncpg's pool: its release() hangs on a server that has gone silent, and after a failover
    it goes on handing out connections to the old primary.
    """

    def __init__(
        self, settings: ConnectionSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._free = asyncio.Semaphore(settings.max_connections)
        self._idle: list[_Opened] = []
        self._generation = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections, all at once; one in use is closed after its statement."""
        await asyncio.gather(*(close(each.connection) for each in self._expire()))

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection, for one statement of at most `settings.statement_timeout_seconds`.

        Raises:
            StatementTooSlowError: the statement took longer.
            DatabaseError: from connecting, or from the statement.
        """
        async with self._free:
            opened = await self._take()
            try:
                with translated(timeout=StatementTooSlowError):
                    async with asyncio.timeout(self._settings.statement_timeout_seconds):
                        yield opened.connection
            except BaseException as error:
                self._return_after(error, opened)
                raise
            await self._return(opened)

    async def _take(self) -> _Opened:
        while self._idle:
            opened = self._idle.pop()
            if opened.connection.is_closed():
                continue
            if not self._has_expired(opened):
                return opened
            await close(opened.connection)
        generation, at = self._generation, self._clock()
        # One that we no longer wait for would go on holding its locks.
        milliseconds = self._settings.statement_timeout_seconds * _SERVER_SHARE * 1000
        connection = await connect(self._settings, statement_timeout=f"{milliseconds:.0f}")
        return _Opened(connection, generation, at)

    async def _return(self, opened: _Opened) -> None:
        if self._has_expired(opened):
            await close(opened.connection)
        else:
            self._idle.append(opened)

    def _return_after(self, error: BaseException, opened: _Opened) -> None:
        ended = ends(error) if isinstance(error, DatabaseError) else Ends.ITS_OWN
        if ended is Ends.NONE and opened.generation == self._generation:
            self._idle.append(opened)
            return
        opened.connection.terminate()
        if ended is Ends.ALL:
            for each in self._expire():
                each.connection.terminate()

    def _expire(self) -> list[_Opened]:
        """Let no connection opened so far be used again; return the idle ones."""
        self._generation += 1
        idle, self._idle = self._idle, []
        return idle

    def _has_expired(self, opened: _Opened) -> bool:
        age_seconds = self._clock() - opened.at
        return (
            opened.generation != self._generation
            or age_seconds >= self._settings.max_connection_age_seconds
        )
