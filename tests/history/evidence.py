"""What a real PostgreSQL has to say about a run."""

from collections.abc import Sequence

import asyncpg

from consumer.events.table import ColumnKinds, Table
from consumer.messages import ColumnValue
from consumer.postgres.queries import identifier, qualified
from consumer.postgres.sink import columns_present
from tests.history.steps import DatabaseContents, Entry, QuarantineRow, Step

_QUARANTINE = """
SELECT message_id::text, reason, field_name, kid, sealed_body FROM consumer.quarantine
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_COMMITS = """
SELECT message_id::text, quarantine.message_id IS NOT NULL AS quarantined,
    extract(epoch FROM pg_xact_commit_timestamp(ledger.xmin))::float8 AS at
FROM consumer.ledger LEFT JOIN consumer.quarantine USING (slot, message_id)
ORDER BY at
"""


async def contents_of(
    connection: asyncpg.Connection, table: Table, kinds: ColumnKinds
) -> DatabaseContents:
    """What the database holds; `kinds` is what `inspect_table` found.

    A writer's deadlocks are counted once it is idle for a second or has closed its connection.
    """
    columns = ", ".join(identifier(column.name) for column in columns_present(table, kinds))
    rows: Sequence[tuple[ColumnValue, ...]] = [
        tuple(row)
        for row in await connection.fetch(f"SELECT {columns} FROM {qualified(table.name)}")  # noqa: S608 - quoted
    ]
    ledger = await connection.fetch("SELECT message_id::text FROM consumer.ledger")
    quarantine = await connection.fetch(_QUARANTINE)
    return DatabaseContents(
        rows=rows,
        ledger=[row["message_id"] for row in ledger],
        quarantine=[QuarantineRow(*row) for row in quarantine],
        deadlocks=await connection.fetchval(_DEADLOCKS),
    )


async def commits(connection: asyncpg.Connection) -> Sequence[Entry]:
    """When each message became durable, by PostgreSQL's own record, in that order.

    The server needs `track_commit_timestamp = on` from before the first commit, and its clock is
    the machine's. To be merged with the queue's record of deletes.
    """
    return [
        Entry(Step.QUARANTINED if quarantined else Step.COMMITTED, message_id, at=at)
        for message_id, quarantined, at in await connection.fetch(_COMMITS)
    ]
