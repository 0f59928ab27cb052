"""Connections: how one is opened, reused, replaced and closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from consumer.errors import DatabaseError, StatementTooSlowError
from consumer.postgres.errors import FAILURES, Ends, ends, translated
from consumer.runtime import enable_tcp_keepalive

_CLOSE_SECONDS = 1.0
# The server ends a statement before we do, so that a slow one does not look like a dead link.
_SERVER_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where PostgreSQL is, and the limits of connections and statements.

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


async def connect(
    settings: ConnectionSettings, *, statement_timeout_seconds: float | None = None
) -> asyncpg.Connection:
    """Open a connection to a server that takes writes.

    With `statement_timeout_seconds` the server itself ends longer statements: one that we no
    longer wait for would go on holding its locks.

    Raises:
        DatabaseRefusedError: a wrong DSN, user, password or database.
        DatabaseError: it could not be reached in `connect_timeout_seconds`.
    """
    session = {"application_name": settings.application_name}
    if not settings.pooled:
        session["array_nulls"] = "on"  # whatever the role's is: array_literal needs it
        if statement_timeout_seconds is not None:
            milliseconds = statement_timeout_seconds * _SERVER_SHARE * 1000
            session["statement_timeout"] = f"{milliseconds:.0f}"
    # asyncpg raises ValueError for a port that is no number.
    with translated((*FAILURES, ValueError)):
        async with asyncio.timeout(settings.connect_timeout_seconds):
            connection = await asyncpg.connect(
                settings.dsn,
                timeout=settings.connect_timeout_seconds,
                statement_cache_size=settings.statement_cache_size,
                server_settings=session,
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
    """A connection for a command; raises what `connect` raises."""
    connection = await connect(settings)
    try:
        yield connection
    except BaseException:
        # close() waits for an answer, on a dead server forever (asyncpg#1326).
        connection.terminate()
        raise
    await close(connection)


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
        connection = await connect(
            self._settings, statement_timeout_seconds=self._settings.statement_timeout_seconds
        )
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
