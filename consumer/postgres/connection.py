"""Connections: how one is opened, kept, shared out and ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from consumer.errors import DatabaseError, DatabaseRefusedError
from consumer.postgres.errors import FAILURES, is_data, is_link_lost, translate
from consumer.runtime import enable_tcp_keepalive

_CLOSE_SECONDS = 1.0
# The server is the first to give a statement up, so that a slow one does not look like a dead link.
_SERVER_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where PostgreSQL is, and how long and how often we bother it.

    `statement_cache_size` is 0 behind PgBouncer's transaction mode; with 0 nothing is asked of a
    session that PgBouncer does not pass on.
    """

    dsn: str = field(repr=False)
    connect_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 30.0
    max_connections: int = 4
    max_connection_age_seconds: float = 1800.0
    statement_cache_size: int = 100
    application_name: str = "login-consumer"


async def connect(
    server: ConnectionSettings, *, statement_timeout_seconds: float | None = None
) -> asyncpg.Connection:
    """Open a connection to a server that takes writes.

    With `statement_timeout_seconds` the server ends longer statements itself, so that one that we
    have given up does not go on holding its locks.

    Raises:
        DatabaseRefusedError: a wrong DSN, user, password or database.
        DatabaseError: it could not be reached in `connect_timeout_seconds`.
    """
    pooled = server.statement_cache_size == 0
    session = {"application_name": server.application_name}
    if statement_timeout_seconds is not None and not pooled:  # PgBouncer refuses the parameter
        session["statement_timeout"] = f"{statement_timeout_seconds * _SERVER_SHARE * 1000:.0f}"
    if not pooled:
        session["array_nulls"] = "on"  # whatever the role's is: array_literal needs it
    try:
        async with asyncio.timeout(server.connect_timeout_seconds):
            connection = await asyncpg.connect(
                server.dsn,
                timeout=server.connect_timeout_seconds,
                statement_cache_size=server.statement_cache_size,
                server_settings=session,
                target_session_attrs=SessionAttribute.read_write,
            )
    except FAILURES as failure:
        raise translate(failure) from None
    except ValueError:  # asyncpg on a port that is no number; its text quotes the DSN
        raise DatabaseRefusedError("ValueError", "the DSN is malformed") from None
    # asyncpg has no public way to its transport.
    enable_tcp_keepalive(connection._transport)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    return connection


async def close(connection: asyncpg.Connection) -> None:
    """Say goodbye to a healthy connection, for a second at most."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.close()
    except FAILURES:
        pass  # it is as good as closed: what follows needs no answer
    finally:
        connection.terminate()


@asynccontextmanager
async def connected(server: ConnectionSettings) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a command. Raises what `connect` raises."""
    connection = await connect(server)
    try:
        yield connection
    except BaseException:
        # close() waits for an answer, on a dead server for ever (asyncpg#1326).
        connection.terminate()
        raise
    await close(connection)


@asynccontextmanager
async def briefly_connected(server: ConnectionSettings) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a few quick statements, which together may take as long as one.

    Raises what `connect` raises, and DatabaseError if it takes longer.
    """
    seconds = server.connect_timeout_seconds + server.statement_timeout_seconds
    try:
        async with asyncio.timeout(seconds), connected(server) as connection:
            yield connection
    except TimeoutError:
        raise DatabaseError("TimeoutError") from None


@dataclass(frozen=True, slots=True)
class _Kept:
    connection: asyncpg.Connection = field(repr=False)
    generation: int
    opened: float


class Connections:
    """At most `server.max_connections` connections, kept while idle; use as a context manager.

    Not asyncpg's pool: its release() hangs on a server that has gone silent, and after a failover
    it goes on handing out connections to the old primary.
    """

    def __init__(
        self, server: ConnectionSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._clock = clock
        self._free = asyncio.Semaphore(server.max_connections)
        self._idle: list[_Kept] = []
        self._generation = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections, at the same time; one in use ends when it is given back."""
        self._generation += 1
        idle, self._idle = self._idle, []
        await asyncio.gather(*(close(kept.connection) for kept in idle))

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection, for one statement of at most `server.statement_timeout_seconds`.

        Raises:
            DatabaseError: from connecting; the statement's own errors pass through, or a
                TimeoutError.
        """
        async with self._free:
            kept = await self._take()
            try:
                async with asyncio.timeout(self._server.statement_timeout_seconds):
                    yield kept.connection
            except BaseException as error:
                self._return_after(error, kept)
                raise
            await self._return(kept)

    async def _take(self) -> _Kept:
        while self._idle:
            kept = self._idle.pop()
            if kept.connection.is_closed():
                continue
            if not self._has_expired(kept):
                return kept
            await close(kept.connection)
        generation, opened = self._generation, self._clock()
        connection = await connect(
            self._server, statement_timeout_seconds=self._server.statement_timeout_seconds
        )
        return _Kept(connection, generation, opened)

    async def _return(self, kept: _Kept) -> None:
        if self._has_expired(kept):
            await close(kept.connection)
        else:
            self._idle.append(kept)

    def _return_after(self, error: BaseException, kept: _Kept) -> None:
        if is_data(error) and kept.generation == self._generation:
            self._idle.append(kept)
            return
        kept.connection.terminate()
        if is_link_lost(error):
            self._expire()

    def _expire(self) -> None:
        self._generation += 1
        idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.terminate()

    def _has_expired(self, kept: _Kept) -> bool:
        age_seconds = self._clock() - kept.opened
        return (
            kept.generation != self._generation
            or age_seconds >= self._server.max_connection_age_seconds
        )
