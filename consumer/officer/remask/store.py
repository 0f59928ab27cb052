"""Rewrites the tokens of old keys in place, after another key became the primary.

First each distinct old token gets its new token in consumer.remasked, which the views of repeated
values join. Then the rows are rewritten. Both go over the table's pages in short transactions.
There is no state to lose: after a kill, the next run skips every token of the primary key.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from consumer.errors import TokenError
from consumer.postgres.errors import translated
from consumer.postgres.queries import (
    Sql,
    fill,
    identifier,
    joined,
    literal,
    load_queries,
    qualified,
)

_QUERIES = load_queries(__package__, "queries.sql")
_LOCK = _QUERIES["lock"]
_PLAN_BY_INDEX = _QUERIES["plan_by_index"]
_LEAVES = _QUERIES["leaves"]
_PAGE_BYTES = _QUERIES["page_bytes"]
_OLD_TOKENS = _QUERIES["old_tokens"]
_REWRITE = _QUERIES["rewrite"]
_ADD_MAPPINGS = _QUERIES["add_mappings"]
_JOIN_MAPPING = _QUERIES["join_mapping"]
_DELETE_OTHER_MAPPINGS = _QUERIES["delete_other_mappings"]
_DELETE_ALL_MAPPINGS = _QUERIES["delete_all_mappings"]
_ROWS_LEFT = _QUERIES["rows_left"]
_OLD_BODIES = _QUERIES["old_bodies"]
_RESEAL = _QUERIES["reseal"]
_BODIES_LEFT = _QUERIES["bodies_left"]
_ASSIGNMENT = Sql("{column} = coalesce({alias}.new_token, event.{column})")
_IS_MAPPED = Sql("{alias}.new_token IS NOT NULL")
_COUNT_LEFT = Sql("count(*) FILTER (WHERE {column} NOT LIKE $1)")
# Bodies of up to 1 MiB each, read and written.
_BODIES_AT_A_TIME = 16

RenewToken = Callable[[str], str]
RenewBody = Callable[[str, str, bytes], bytes]


@dataclass(frozen=True, slots=True)
class RemaskPlan:
    """The table to rewrite, and the functions that renew its tokens and sealed bodies.

    `tokens` has a function for each column; `body` renews a sealed body, given its kid, its
    message's id and its bytes; both raise TokenError. `primary` is the kid of the primary key.
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
    """How far a stage is: pages done of all pages, and rows rewritten."""

    stage: str
    pages: int
    of_pages: int
    rows: int


@dataclass(slots=True)
class RemaskResult:
    """What was rewritten, and what is left.

    `left` counts the rows by column whose token is not under the primary key; `refusals` has the
    reasons why tokens or bodies could not be renewed, each once.
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
    plan: RemaskPlan,
    *,
    pages_a_batch: int,
    show: Callable[[Progress], None],
) -> RemaskResult:
    """Rewrite every token and body that is not under the primary key, then count what is left.

    May run beside replicas: they only insert, and no lock outlasts a batch.

    Raises:
        DatabaseError: as of any statement; finished batches stay, and another run continues.
    """
    done = await prepare(connection, plan, pages_a_batch=pages_a_batch, show=show)
    with translated():
        if plan.tokens:
            async for batch in _batches(connection, plan.table, pages_a_batch):
                await _rewrite(connection, plan, batch, done)
                show(Progress("rewriting rows", batch.pages_done, batch.of_pages, done.rows))
            await _count_rows_left(connection, plan, done)
        await _reseal_bodies(connection, plan, done)
        if done.is_complete:
            await connection.execute(_DELETE_ALL_MAPPINGS)
    return done


async def prepare(
    connection: asyncpg.Connection,
    plan: RemaskPlan,
    *,
    pages_a_batch: int,
    show: Callable[[Progress], None],
) -> RemaskResult:
    """Map each old token to its new one in consumer.remasked; change no row.

    Call it before `plan.primary` becomes the primary key: the views of repeated values then join
    both tokens of a value from the first new row on.

    Raises:
        DatabaseError: as of any statement.
    """
    done = RemaskResult()
    with translated():
        await connection.execute(_DELETE_OTHER_MAPPINGS, plan.like)
        async for batch in _batches(connection, plan.table, pages_a_batch):
            await _map_tokens(connection, plan, batch, done)
            show(Progress("finding old tokens", batch.pages_done, batch.of_pages, done.rows))
    return done


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pages [first, end) of a leaf of the table, and the progress after them."""

    leaf: str
    first: int
    end: int
    pages_done: int
    of_pages: int


async def _batches(
    connection: asyncpg.Connection, table: str, pages_a_batch: int
) -> AsyncIterator[_Batch]:
    """All pages that the table has now; rows added after them have the new tokens."""
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
async def _exclusive(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction that excludes other runs of remask."""
    async with connection.transaction():
        await connection.execute(_LOCK)
        yield


async def _map_tokens(
    connection: asyncpg.Connection, plan: RemaskPlan, batch: _Batch, done: RemaskResult
) -> None:
    """Map each old token of the batch to its new one in consumer.remasked."""
    for column, renew in plan.tokens.items():
        name = f"{plan.table}.{column}"
        query = fill(_OLD_TOKENS, leaf=Sql(batch.leaf), column=identifier(column))
        async with _exclusive(connection):
            found = await connection.fetch(query, batch.first, batch.end, plan.like, name)
            renewed: dict[str, str] = {}
            for (token,) in found:
                try:
                    renewed[token] = renew(token)
                except TokenError as refusal:
                    done.refusals.add(f"{name}: {refusal}")
            if renewed:
                await connection.execute(_ADD_MAPPINGS, name, list(renewed), list(renewed.values()))


async def _rewrite(
    connection: asyncpg.Connection, plan: RemaskPlan, batch: _Batch, done: RemaskResult
) -> None:
    """Replace the tokens of the batch's rows by their mappings in consumer.remasked."""
    columns = [(identifier(f"m{n}"), column) for n, column in enumerate(plan.tokens)]
    statement = fill(
        _REWRITE,
        leaf=Sql(batch.leaf),
        joins=joined((_join(plan.table, *each) for each in columns), "\n"),
        assignments=joined(
            fill(_ASSIGNMENT, alias=alias, column=identifier(column)) for alias, column in columns
        ),
        found=joined((fill(_IS_MAPPED, alias=alias) for alias, _ in columns), " OR "),
    )
    async with _exclusive(connection):
        await connection.execute(_PLAN_BY_INDEX)
        status = await connection.execute(statement, batch.first, batch.end)
    done.rows += int(status.rsplit(" ", 1)[-1])


def _join(table: str, alias: Sql, column: str) -> Sql:
    name = literal(f"{table}.{column}")
    return fill(_JOIN_MAPPING, alias=alias, name=name, column=identifier(column))


async def _reseal_bodies(
    connection: asyncpg.Connection, plan: RemaskPlan, done: RemaskResult
) -> None:
    last_id = 0
    while True:
        async with _exclusive(connection):
            bodies = await connection.fetch(_OLD_BODIES, last_id, plan.primary, _BODIES_AT_A_TIME)
            if not bodies:
                break
            last_id = bodies[-1]["id"]
            resealed: list[tuple[int, str, bytes]] = []
            for body_id, message_id, kid, sealed in bodies:
                try:
                    resealed.append((body_id, kid, plan.body(kid, message_id, sealed)))
                except TokenError as refusal:
                    done.refusals.add(f"consumer.quarantine: {refusal}")
            arrays = zip(*resealed, strict=True) if resealed else ((), (), ())
            status = await connection.execute(_RESEAL, plan.primary, *map(list, arrays))
        done.bodies += int(status.rsplit(" ", 1)[-1])
    done.bodies_left = await connection.fetchval(_BODIES_LEFT, plan.primary)


async def _count_rows_left(
    connection: asyncpg.Connection, plan: RemaskPlan, done: RemaskResult
) -> None:
    counts = joined(fill(_COUNT_LEFT, column=identifier(column)) for column in plan.tokens)
    query = fill(_ROWS_LEFT, counts=counts, table=qualified(plan.table))
    (left,) = await connection.fetch(query, plan.like)
    done.left = dict(zip(plan.tokens, left, strict=True))
