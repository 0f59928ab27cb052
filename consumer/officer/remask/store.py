"""Rewrites the tokens of old keys in place, after another key has become the primary one.

First each distinct old token gets its new one in consumer.remasked, through which the views of
repeated values join both from then on; then the rows are rewritten. Both go over the table's pages
in short transactions. There is no state to lose: whatever is killed, the next run skips what has
the primary key's tokens already.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from consumer.errors import TokenError
from consumer.postgres.errors import translated
from consumer.postgres.queries import identifier, literal, load_statement, qualified

# One at a time; held for a transaction only, for poolers know no locks of a session.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('consumer.remask', 0))"
# The statistics know nothing of what was just mapped. A hash or a copy of all of it for each few
# pages would take longer than the rest: each token is to be looked up by the index.
_PLAN = "; ".join(
    f"SET LOCAL enable_{node} = off"
    for node in ("hashjoin", "mergejoin", "material", "seqscan", "bitmapscan")
)

# The table itself, or the partitions that hold its rows.
_LEAVES = """
    SELECT relation::regclass::text AS leaf, pg_relation_size(relation) AS bytes
    FROM (
        SELECT oid AS relation FROM pg_catalog.pg_class
        WHERE oid = to_regclass($1) AND relkind = 'r'
        UNION
        SELECT relid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf
    ) AS leaves
    ORDER BY 1
"""
_PAGE_BYTES = "SELECT current_setting('block_size')::integer"
_OLD_TOKENS = """
    SELECT DISTINCT event.{column} AS token
    FROM {leaf} AS event
    WHERE event.ctid >= format('(%s,0)', $1::bigint)::tid
        AND event.ctid < format('(%s,0)', $2::bigint)::tid
        AND event.{column} NOT LIKE $3
        AND NOT EXISTS (
            SELECT FROM consumer.remasked
            WHERE column_name = $4 AND old_token = event.{column}
        )
"""
_REMEMBER = """
    INSERT INTO consumer.remasked (column_name, old_token, new_token)
    SELECT $1, * FROM unnest($2::text[], $3::text[]) ORDER BY 2
    ON CONFLICT DO NOTHING
"""
_FORGET_OTHERS = "DELETE FROM consumer.remasked WHERE new_token NOT LIKE $1"
_FORGET_ALL = "DELETE FROM consumer.remasked"

_OLD_BODIES = """
    SELECT id, message_id::text, kid, sealed_body FROM consumer.quarantine
    WHERE id > $1 AND kid <> $2 ORDER BY id LIMIT $3
"""
_RESEAL = """
    UPDATE consumer.quarantine AS quarantined SET kid = $1, sealed_body = resealed.sealed_body
    FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS resealed (id, old_kid, sealed_body)
    WHERE quarantined.id = resealed.id AND quarantined.kid = resealed.old_kid
"""
# Bodies of 1 MiB each, read and written.
_BODIES_AT_A_TIME = 16

_BODIES_LEFT = "SELECT count(*) FROM consumer.quarantine WHERE kid <> $1"

RenewToken = Callable[[str], str]
RenewBody = Callable[[str, str, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is rewritten, and how.

    `tokens` has for each column what renews its tokens; `body` renews a sealed body, given its
    kid, its message's id and its bytes; both raise TokenError. `primary` is the primary key's kid.
    """

    table: str
    primary: str
    tokens: Mapping[str, RenewToken]
    body: RenewBody

    @property
    def like(self) -> str:
        """The pattern of the primary key's tokens; a kid holds no wildcard."""
        return f"{self.primary}.%"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is: pages looked at of all, and rows rewritten so far."""

    stage: str
    pages: int
    of_pages: int
    rows: int


@dataclass(slots=True)
class Remasked:
    """What was done, and what is left.

    `left` counts the rows whose token in a column is not under the primary key; `refusals` says
    why tokens or bodies could not be renewed, each reason once.
    """

    rows: int = 0
    bodies: int = 0
    left: dict[str, int] = field(default_factory=dict)
    bodies_left: int = 0
    refusals: set[str] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Whether no token and no body of an old key is left."""
        return not self.bodies_left and not any(self.left.values())


async def remask(
    connection: asyncpg.Connection,
    renewal: Renewal,
    *,
    pages_a_batch: int,
    show: Callable[[Progress], None],
) -> Remasked:
    """Rewrite every token and body that is not under the primary key, then count what is left.

    Beside running replicas: they only insert, and no lock is held for longer than a batch takes.

    Raises:
        DatabaseError: as of any statement; what was done stays, and another run goes on from there.
    """
    done = await remask_ahead(connection, renewal, pages_a_batch=pages_a_batch, show=show)
    with translated():
        if renewal.tokens:
            async for batch in _batches(connection, renewal.table, pages_a_batch):
                await _rewrite(connection, renewal, batch, done)
                show(Progress("rewriting rows", batch.pages_done, batch.of_pages, done.rows))
            await _count_rows_left(connection, renewal, done)
        await _reseal_bodies(connection, renewal, done)
        if done.is_complete:
            await connection.execute(_FORGET_ALL)
    return done


async def remask_ahead(
    connection: asyncpg.Connection,
    renewal: Renewal,
    *,
    pages_a_batch: int,
    show: Callable[[Progress], None],
) -> Remasked:
    """Only give each old token its new one in consumer.remasked, and change no row.

    Done before `renewal.primary` becomes the primary key, the views of repeated values join both
    tokens of a value from the first new row on.

    Raises:
        DatabaseError: as of any statement.
    """
    done = Remasked()
    with translated():
        await connection.execute(_FORGET_OTHERS, renewal.like)
        async for batch in _batches(connection, renewal.table, pages_a_batch):
            await _map_tokens(connection, renewal, batch, done)
            show(Progress("finding old tokens", batch.pages_done, batch.of_pages, done.rows))
    return done


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pages [first, end) of a leaf of the table; with them so many pages of all are done."""

    leaf: str
    first: int
    end: int
    pages_done: int
    of_pages: int


async def _batches(
    connection: asyncpg.Connection, table: str, pages_a_batch: int
) -> AsyncIterator[_Batch]:
    """All pages that the table has now; what is added behind them has the newest tokens."""
    page_bytes = await connection.fetchval(_PAGE_BYTES)
    leaves = [
        (leaf, size // page_bytes)
        for leaf, size in await connection.fetch(_LEAVES, qualified(table))
    ]
    of_pages = sum(pages for _, pages in leaves)
    before = 0
    for leaf, pages in leaves:
        for first in range(0, pages, pages_a_batch):
            end = min(pages, first + pages_a_batch)
            yield _Batch(leaf, first, end, before + end, of_pages)
        before += pages


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction that no other run of remask has at the same time."""
    async with connection.transaction():
        await connection.execute(_LOCK)
        yield


async def _map_tokens(
    connection: asyncpg.Connection, renewal: Renewal, batch: _Batch, done: Remasked
) -> None:
    """Give each old token of the batch its new one in consumer.remasked."""
    for column, renew in renewal.tokens.items():
        name = f"{renewal.table}.{column}"
        query = _OLD_TOKENS.format(leaf=batch.leaf, column=identifier(column))
        async with _alone(connection):
            found = await connection.fetch(query, batch.first, batch.end, renewal.like, name)
            renewed: dict[str, str] = {}
            for (token,) in found:
                try:
                    renewed[token] = renew(token)
                except TokenError as refusal:
                    done.refusals.add(f"{name}: {refusal}")
            if renewed:
                await connection.execute(_REMEMBER, name, list(renewed), list(renewed.values()))


async def _rewrite(
    connection: asyncpg.Connection, renewal: Renewal, batch: _Batch, done: Remasked
) -> None:
    """Give the batch's rows the tokens that consumer.remasked has for theirs."""
    columns = [(f"m{number}", column) for number, column in enumerate(renewal.tokens)]
    joins = (
        f"LEFT JOIN consumer.remasked AS {alias} ON {alias}.column_name ="
        f" {literal(f'{renewal.table}.{column}')} AND {alias}.old_token = old.{identifier(column)}"
        for alias, column in columns
    )
    assignments = (
        f"{identifier(column)} = coalesce({alias}.new_token, event.{identifier(column)})"
        for alias, column in columns
    )
    statement = load_statement("consumer.postgres", "sql/remask.sql").format(
        leaf=batch.leaf,
        assignments=", ".join(assignments),
        joins="\n".join(joins),
        found=" OR ".join(f"{alias}.new_token IS NOT NULL" for alias, _ in columns),
    )
    async with _alone(connection):
        await connection.execute(_PLAN)
        status = await connection.execute(statement, batch.first, batch.end)
    done.rows += int(status.rsplit(" ", 1)[-1])


async def _reseal_bodies(connection: asyncpg.Connection, renewal: Renewal, done: Remasked) -> None:
    last_id = 0
    while True:
        async with _alone(connection):
            bodies = await connection.fetch(
                _OLD_BODIES, last_id, renewal.primary, _BODIES_AT_A_TIME
            )
            if not bodies:
                break
            last_id = bodies[-1]["id"]
            resealed: list[tuple[int, str, bytes]] = []
            for body_id, message_id, kid, sealed in bodies:
                try:
                    resealed.append((body_id, kid, renewal.body(kid, message_id, sealed)))
                except TokenError as refusal:
                    done.refusals.add(f"consumer.quarantine: {refusal}")
            arrays = zip(*resealed, strict=True) if resealed else ((), (), ())
            status = await connection.execute(_RESEAL, renewal.primary, *map(list, arrays))
        done.bodies += int(status.rsplit(" ", 1)[-1])
    done.bodies_left = await connection.fetchval(_BODIES_LEFT, renewal.primary)


async def _count_rows_left(
    connection: asyncpg.Connection, renewal: Renewal, done: Remasked
) -> None:
    counts = ", ".join(
        f"count(*) FILTER (WHERE {identifier(column)} NOT LIKE $1)" for column in renewal.tokens
    )
    query = f"SELECT {counts} FROM {qualified(renewal.table)}"  # noqa: S608 - quoted names alone
    (left,) = await connection.fetch(query, renewal.like)
    done.left = dict(zip(renewal.tokens, left, strict=True))
