"""Makes and upgrades schema `consumer`, and an event's table where there is none."""

from collections.abc import Sequence
from importlib.resources import files

import asyncpg

from consumer.errors import DatabaseRefusedError, SettingsError
from consumer.events.table import Column, DuplicatesView, Kind, Table
from consumer.postgres.errors import translated
from consumer.postgres.queries import identifier, literal, load_statement, qualified

_OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"
_DUPLICATE_TABLE = "42P07"

# Whoever comes second waits, and then finds nothing to do.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('consumer.migrate', 0))"
_APPLIED = """
    CREATE TABLE consumer.migrations (
        number integer PRIMARY KEY,
        name text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
# The default path is "$user", public: a role that is called consumer would make the event's table
# in our schema, where no analyst looks for it.
_OUT_OF_OUR_SCHEMA = """
    SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
    FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
    WHERE name <> 'consumer' HAVING count(*) > 0
"""
_COLUMNS = """
    SELECT attname FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""


async def migrate(
    connection: asyncpg.Connection, table: Table, repeats: Sequence[DuplicatesView] = ()
) -> tuple[str, ...]:
    """Bring the database to this release's schema; return a line for each thing done.

    All of it in one transaction, and safe when several replicas do it at once. A table that is
    there is never altered. A view is made only if its table has all of its columns.

    Raises:
        DatabaseRefusedError: the database is of a newer release, or this role lacks a right.
        DatabaseError: as of any statement.
    """
    with translated():
        async with connection.transaction():
            await connection.execute(_LOCK)
            done = await _upgrade(connection)
            if await connection.fetchval("SELECT to_regclass($1)", qualified(table.name)) is None:
                await connection.execute(_OUT_OF_OUR_SCHEMA)
                await connection.execute(create_table(table))
                done.append(f"created table {table.name}")
            for each in repeats:
                done += await _make_view(connection, each)
    return tuple(done)


async def add_column(connection: asyncpg.Connection, table: Table, name: str) -> tuple[str, ...]:
    """Add an optional column to the table, if it is not there; return a line if it was not.

    Raises:
        SettingsError: the model has no optional column of this name.
        DatabaseError: 55P03 if the table is in use longer than we wait; try again later.
    """
    optional = {column.name: column for column in table.columns if column.optional}
    if name not in optional:
        known = ", ".join(optional) or "none"
        raise SettingsError(f"{name} is no optional column of {table.name}; there is: {known}")
    column = f"{identifier(name)} {_type(optional[name])}"
    with translated():
        if name in await columns_in(connection, table.name):
            return ()
        async with connection.transaction():
            # Whoever queues behind ALTER TABLE's lock waits as long as ALTER TABLE does.
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            await connection.execute(
                f"ALTER TABLE {qualified(table.name)} ADD COLUMN IF NOT EXISTS {column}"
            )
    return (f"added column {table.name}.{name}: running consumers fill it from their next start",)


async def columns_in(connection: asyncpg.Connection, table: str) -> frozenset[str]:
    """The names of the columns that a table or view has; none if it is not there."""
    return frozenset(
        record["attname"] for record in await connection.fetch(_COLUMNS, qualified(table))
    )


async def _make_view(connection: asyncpg.Connection, repeats: DuplicatesView) -> list[str]:
    """Make the view if it is not there; never anew, for others may have built upon it."""
    name, table = qualified(f"consumer.{repeats.view}"), qualified(repeats.table)
    if await connection.fetchval("SELECT to_regclass($1)", name) is not None:
        if not await connection.fetchval(
            load_statement("consumer.postgres", "sql/view_reads.sql"), name, table
        ):
            raise DatabaseRefusedError(
                _DUPLICATE_TABLE,
                f"consumer.{repeats.view} is there, and is not of {repeats.table}: "
                "give this column's Into a view of another name",
            )
        return []
    if not {repeats.column, repeats.day, repeats.subject or repeats.day} <= await columns_in(
        connection, repeats.table
    ):
        return []
    await connection.execute(create_view(repeats))
    return [f"created view consumer.{repeats.view}"]


async def schema_version(connection: asyncpg.Connection) -> int:
    """The number of the newest migration in the database; 0 if there is none."""
    if await connection.fetchval("SELECT to_regclass('consumer.migrations')") is None:
        return 0
    newest = await connection.fetchval("SELECT coalesce(max(number), 0) FROM consumer.migrations")
    assert isinstance(newest, int)
    return newest


def migrations() -> tuple[tuple[int, str, str], ...]:
    """Number, file name and text of each migration, in order."""
    found = sorted(
        (files("consumer.postgres") / "sql" / "migrations").iterdir(), key=lambda path: path.name
    )
    return tuple(
        (int(path.name.split("_", 1)[0]), path.name, path.read_text(encoding="utf-8"))
        for path in found
        if path.name.endswith(".sql")
    )


async def _upgrade(connection: asyncpg.Connection) -> list[str]:
    done = []
    # CREATE SCHEMA IF NOT EXISTS asks for the right to create even where the schema exists.
    if await connection.fetchval("SELECT to_regnamespace('consumer')") is None:
        await connection.execute("CREATE SCHEMA consumer")
        done.append("created schema consumer")
    if await connection.fetchval("SELECT to_regclass('consumer.migrations')") is None:
        await connection.execute(_APPLIED)
    version = await schema_version(connection)
    known = migrations()
    if version > known[-1][0]:
        raise newer_schema(version, known[-1][0])
    for number, name, text in known:
        if number > version:
            await connection.execute(text)
            await connection.execute(
                "INSERT INTO consumer.migrations (number, name) VALUES ($1, $2)", number, name
            )
            done.append(f"applied {name}")
    return done


def newer_schema(version: int, known: int) -> DatabaseRefusedError:
    """The error for a database that a newer release has upgraded."""
    return DatabaseRefusedError(
        _OBJECT_NOT_IN_PREREQUISITE_STATE,
        f"schema consumer is at version {version}, this release knows {known}: run a newer release",
    )


def create_table(table: Table) -> str:
    """The statement that makes an event's table, each column of the first kind that it may have.

    Optional columns are left out: `add_column` adds them.
    """
    columns = ", ".join(
        f"{identifier(column.name)} {_type(column)}"
        for column in table.columns
        if not column.optional
    )
    return f"CREATE TABLE {qualified(table.name)} ({columns})"


def create_view(repeats: DuplicatesView) -> str:
    """The statement that makes the view of the tokens that a column has more than once."""
    users = ""
    if repeats.subject is not None:
        users = f",\n    count(DISTINCT event.{identifier(repeats.subject)}) AS users"
    return load_statement("consumer.postgres", "sql/repeats.sql").format(
        view=qualified(f"consumer.{repeats.view}"),
        table=qualified(repeats.table),
        column=identifier(repeats.column),
        name=literal(f"{repeats.table}.{repeats.column}"),
        day=identifier(repeats.day),
        users=users,
    )


def _type(column: Column) -> str:
    kind = column.kinds[0]
    if kind is Kind.TEXT and column.length is not None:
        return f"varchar({column.length})"
    return kind.value
