"""The quarantined messages in the database: listed, opened, replayed, deleted."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import asyncpg

from consumer.errors import DataRejectedError
from consumer.events.table import ColumnKinds, Table
from consumer.messages import Message, Reason, Row
from consumer.postgres.errors import DRIVER_FAILURES, translated
from consumer.postgres.queries import Sql, fill, load_queries, load_statement
from consumer.postgres.sink import column_lists, column_literals

_QUERIES = load_queries(__package__, "queries.sql")
_GROUPS = _QUERIES["groups"]
_ENTRIES = _QUERIES["entries"]
_SEALED_ENTRIES = _QUERIES["sealed_entries"]
_UPDATE_REASONS = _QUERIES["update_reasons"]
_DELETE = _QUERIES["delete"]
# A row that another replay has locked is skipped: that replay does the work.
_CLAIM = Sql(f"{_SEALED_ENTRIES} FOR UPDATE SKIP LOCKED")
_FIRST_COLUMN_PARAMETER = 2
_ROWS_AT_A_TIME = 1000
# A body may have 1 MiB.
_BODIES_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Group:
    """How many messages of an event are in quarantine for one reason, and when they were sent."""

    event: str
    reason: str
    field_name: str | None
    messages: int
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class Entry:
    """A quarantined message without its body; `sent_ms` is its SentTimestamp."""

    id: int
    event: str
    message_id: str
    sent_ms: int
    reason: str
    field_name: str | None
    kid: str


@dataclass(frozen=True, slots=True)
class SealedEntry(Entry):
    """A quarantined message with its body, which is sealed under the key `kid`."""

    sealed_body: bytes = field(repr=False)

    def message(self, body: str) -> Message:
        """The message as it was received, with `body` and without a receipt handle."""
        return Message(self.message_id, "", body, self.sent_ms, len(body.encode(errors="replace")))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages: those that meet every condition that is set."""

    ids: Sequence[int] | None = None
    reason: Reason | None = None
    day: date | None = None

    @property
    def parameters(self) -> tuple[object, ...]:
        """The first three parameters of the queries."""
        return self.ids, self.reason, self.day


async def groups(connection: asyncpg.Connection) -> list[Group]:
    """The quarantined messages counted by reason; raises DatabaseError."""
    with translated():
        return [Group(**record) for record in await connection.fetch(_GROUPS)]


async def entries(connection: asyncpg.Connection, selection: Selection) -> AsyncIterator[Entry]:
    """The selected messages one by one, without their bodies; raises DatabaseError."""
    with translated(DRIVER_FAILURES):
        async with connection.transaction(readonly=True):
            cursor = connection.cursor(_ENTRIES, *selection.parameters, prefetch=_ROWS_AT_A_TIME)
            async for record in cursor:
                yield Entry(**record)


async def sealed_entries(
    connection: asyncpg.Connection,
    event: str,
    selection: Selection,
    *,
    after: int = 0,
    claim: bool = False,
) -> list[SealedEntry]:
    """The next few messages of an event after the id `after`, with their bodies.

    `claim`: lock them until the transaction ends, and skip those that are locked already.

    Raises:
        DatabaseError: as of any statement.
    """
    query = _CLAIM if claim else _SEALED_ENTRIES
    with translated():
        records = await connection.fetch(
            query, *selection.parameters, event, after, _BODIES_AT_A_TIME
        )
    return [SealedEntry(**record) for record in records]


async def every_sealed_entry(
    connection: asyncpg.Connection, event: str
) -> AsyncIterator[SealedEntry]:
    """All messages of an event, with their bodies; raises DatabaseError."""
    after = 0
    while batch := await sealed_entries(connection, event, Selection(), after=after):
        for entry in batch:
            yield entry
        after = batch[-1].id


async def update_reasons(
    connection: asyncpg.Connection, reasons: Sequence[tuple[int, Reason, str | None]]
) -> None:
    """Set reason and field of messages that remain in quarantine, by id; raises DatabaseError."""
    if reasons:
        with translated():
            await connection.execute(_UPDATE_REASONS, *map(list, zip(*reasons, strict=True)))


async def remove(connection: asyncpg.Connection, ids: Sequence[int]) -> int:
    """Delete messages and return how many were deleted; raises DatabaseError."""
    with translated():
        status = await connection.execute(_DELETE, ids)
    return int(status.rsplit(" ", 1)[-1])


class ReplayWriter:
    """Moves messages from the quarantine into the table, as rows of the columns in `kinds`."""

    def __init__(self, table: Table, kinds: ColumnKinds) -> None:
        lists = column_lists(table, kinds, _FIRST_COLUMN_PARAMETER)
        self._statement = fill(load_statement(__package__, "replay.sql"), **lists)

    async def write(
        self, connection: asyncpg.Connection, rows: Sequence[tuple[int, Row]]
    ) -> dict[int, DataRejectedError]:
        """Write rows by their ids in quarantine; return those that PostgreSQL refused.

        Call it in a transaction that has locked the ids.

        Raises:
            DatabaseError: as of any statement; refused data is returned instead.
        """
        if not rows:
            return {}
        refusal = await self._insert(connection, rows)
        if refusal is None:
            return {}
        if len(rows) == 1:
            return {rows[0][0]: refusal}
        middle = len(rows) // 2
        return {
            **await self.write(connection, rows[:middle]),
            **await self.write(connection, rows[middle:]),
        }

    async def _insert(
        self, connection: asyncpg.Connection, rows: Sequence[tuple[int, Row]]
    ) -> DataRejectedError | None:
        ids = [row_id for row_id, _ in rows]
        values = [row.values for _, row in rows]
        try:
            literals = column_literals(values, len(values[0]))
            with translated():
                async with connection.transaction():
                    # array_literal needs it; through PgBouncer it has the role's own setting.
                    await connection.execute("SET LOCAL array_nulls = on")
                    await connection.execute(self._statement, ids, *literals)
        except DataRejectedError as refusal:
            return refusal
        return None
