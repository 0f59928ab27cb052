"""Creates and upgrades schema `consumer`, its roles and an event's table; prunes the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

import asyncpg

from consumer.errors import DatabaseRefusedError, SettingsError
from consumer.events.table import Column, DuplicatesView, Kind, Table
from consumer.postgres.errors import translated
from consumer.postgres.queries import (
    Sql,
    fill,
    identifier,
    joined,
    literal,
    load_queries,
    load_statement,
    qualified,
)

ENCODING = "UTF8"
ENCODING_ADVICE = "create one with ENCODING 'UTF8'"
ROLES = ("consumer_writer", "consumer_analyst", "consumer_officer", "consumer_maintenance")
_DUPLICATE_TABLE = "42P07"
_OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"
_UNDEFINED_TABLE = "42P01"
_UNTRANSLATABLE_CHARACTER = "22P05"

_QUERIES = load_queries(__package__, "sql/queries.sql")
_PRUNE_LEDGER = _QUERIES["prune_ledger"]
_LOCK_MIGRATIONS = _QUERIES["lock_migrations"]
_CREATE_MIGRATIONS = _QUERIES["create_migrations"]
_NEWEST_MIGRATION = _QUERIES["newest_migration"]
_RECORD_MIGRATION = _QUERIES["record_migration"]
_LEAVE_SCHEMA_CONSUMER = _QUERIES["leave_schema_consumer"]
_CREATE_TABLE = _QUERIES["create_table"]
_LIMIT_LOCK_WAIT = _QUERIES["limit_lock_wait"]
_ADD_COLUMN = _QUERIES["add_column"]
_CREATE_DUPLICATES_VIEW = _QUERIES["create_duplicates_view"]
_RELATION_EXISTS = _QUERIES["relation_exists"]
_SCHEMA_EXISTS = _QUERIES["schema_exists"]
_CREATE_SCHEMA = _QUERIES["create_schema"]
_COLUMNS = _QUERIES["columns"]
_ENCODING = _QUERIES["encoding"]
_SCHEMA_OF_TABLE = _QUERIES["schema_of_table"]
_VIEW_READS_TABLE = _QUERIES["view_reads_table"]
_GRANT_ROLES = load_statement(__package__, "sql/roles.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of sql/migrations; schema `consumer` is at version `number` after it."""

    number: int
    name: str
    text: str

    @classmethod
    def load(cls, name: str) -> Self:
        number, _, _ = name.partition("_")
        return cls(int(number), name, load_statement("consumer.postgres", f"sql/migrations/{name}"))


MIGRATIONS = tuple(
    Migration.load(path.name)
    for path in sorted(
        files(__package__).joinpath("sql/migrations").iterdir(), key=lambda path: path.name
    )
)
NEWEST_VERSION = MIGRATIONS[-1].number


async def migrate(
    connection: asyncpg.Connection, table: Table, views: Sequence[DuplicatesView] = ()
) -> tuple[str, ...]:
    """Bring the database to this release's schema; return a line for each thing done.

    It is one transaction, and safe when several replicas do it at once. An existing table is never
    altered. A view is created only if its table has all of its columns.

    Raises:
        DatabaseRefusedError: the database is of a newer release or another encoding than UTF8, or
            this role lacks a right.
        DatabaseError: as of any statement.
    """
    with translated():
        encoding = await connection.fetchval(_ENCODING)
        if encoding != ENCODING:
            what = f"the database's encoding is {encoding}"
            raise DatabaseRefusedError(_UNTRANSLATABLE_CHARACTER, f"{what}: {ENCODING_ADVICE}")
        async with connection.transaction():
            await connection.execute(_LOCK_MIGRATIONS)
            done = await _upgrade(connection)
            if not await connection.fetchval(_RELATION_EXISTS, qualified(table.name)):
                await connection.execute(_LEAVE_SCHEMA_CONSUMER)
                await connection.execute(create_table(table))
                done.append(f"created table {table.name}")
            for view in views:
                done += await _create_view(connection, view)
    return tuple(done)


async def add_column(connection: asyncpg.Connection, table: Table, name: str) -> tuple[str, ...]:
    """Add an optional column to the table, if it is missing; return a line if it was.

    Raises:
        SettingsError: the model has no optional column of this name.
        DatabaseError: 55P03 if the table is in use for longer than we wait; try again later.
    """
    optional = {column.name: column for column in table.columns if column.optional}
    if name not in optional:
        known = ", ".join(optional) or "none"
        raise SettingsError(f"{name} is no optional column of {table.name}; there is: {known}")
    statement = fill(_ADD_COLUMN, table=qualified(table.name), column=_definition(optional[name]))
    with translated():
        if name in await columns_in(connection, table.name):
            return ()
        async with connection.transaction():
            await connection.execute(_LIMIT_LOCK_WAIT)
            await connection.execute(statement)
    return (f"added column {table.name}.{name}: running consumers fill it from their next start",)


async def grant_roles(
    connection: asyncpg.Connection,
    table: Table,
    views: Sequence[DuplicatesView],
    masked: Sequence[str],
) -> tuple[str, ...]:
    """Create the roles that are missing, and grant each its rights; return lines to show.

    The roles cannot log in: an operator grants them to roles that can. `masked` are the columns
    of tokens that the model declares, the only ones of the table that maintenance may change.

    Raises:
        DatabaseRefusedError: the table is missing, or this role may not create roles or grant.
        DatabaseError: as of any statement.
    """
    names = [qualified(f"consumer.{each.view}") for each in views]
    with translated():
        async with connection.transaction():
            present = await columns_in(connection, table.name)
            if not present:
                raise DatabaseRefusedError(_UNDEFINED_TABLE, f"table {table.name} is missing")
            readable = [qualified(table.name)]
            readable += [
                name for name in names if await connection.fetchval(_RELATION_EXISTS, name)
            ]
            tokens = joined(identifier(name) for name in masked if name in present)
            statements = fill(
                _GRANT_ROLES,
                table=qualified(table.name),
                schema=Sql(await connection.fetchval(_SCHEMA_OF_TABLE, qualified(table.name))),
                readable=joined(readable),
                update=Sql(f", UPDATE ({tokens})" if tokens else ""),
            )
            await connection.execute(statements)
    return tuple(f"granted {role} its rights" for role in ROLES)


async def prune_ledger(connection: asyncpg.Connection) -> tuple[int, ...]:
    """Empty the slots that no message still on the queue can have; return those that had rows.

    The day is the server's, which all replicas share. One replica prunes at a time: for another
    that calls meanwhile the result is ().

    Raises:
        DatabaseRefusedError: this role may not call the function that does it.
        DatabaseError: 55P03 if a slot is in use for longer than we wait; try again later.
    """
    with translated():
        return tuple(await connection.fetchval(_PRUNE_LEDGER))


async def columns_in(connection: asyncpg.Connection, table: str) -> frozenset[str]:
    """The names of the columns that a table or view has; none if it does not exist."""
    with translated():
        records = await connection.fetch(_COLUMNS, qualified(table))
    return frozenset(record["name"] for record in records)


async def schema_version(connection: asyncpg.Connection) -> int:
    """The number of the newest migration in the database; 0 if there is none."""
    if not await connection.fetchval(_RELATION_EXISTS, "consumer.migrations"):
        return 0
    newest = await connection.fetchval(_NEWEST_MIGRATION)
    assert isinstance(newest, int)
    return newest


async def _upgrade(connection: asyncpg.Connection) -> list[str]:
    done = []
    if not await connection.fetchval(_SCHEMA_EXISTS):
        await connection.execute(_CREATE_SCHEMA)
        done.append("created schema consumer")
    if not await connection.fetchval(_RELATION_EXISTS, "consumer.migrations"):
        await connection.execute(_CREATE_MIGRATIONS)
    version = await schema_version(connection)
    if version > NEWEST_VERSION:
        raise DatabaseRefusedError(
            _OBJECT_NOT_IN_PREREQUISITE_STATE,
            f"schema consumer is at version {version}, this release is at {NEWEST_VERSION}:"
            " run a newer release",
        )
    for migration in MIGRATIONS:
        if migration.number > version:
            await connection.execute(migration.text)
            await connection.execute(_RECORD_MIGRATION, migration.number, migration.name)
            done.append(f"applied {migration.name}")
    return done


async def _create_view(connection: asyncpg.Connection, view: DuplicatesView) -> list[str]:
    """Create the view if it is missing; never replace it, because others may build upon it."""
    name, table = qualified(f"consumer.{view.view}"), qualified(view.table)
    if await connection.fetchval(_RELATION_EXISTS, name):
        if not await connection.fetchval(_VIEW_READS_TABLE, name, table):
            raise DatabaseRefusedError(
                _DUPLICATE_TABLE,
                f"consumer.{view.view} is a view of another table than {view.table}: "
                "give this column's Into a view of another name",
            )
        return []
    present = await columns_in(connection, view.table)
    if not {view.column, view.day, view.subject or view.day} <= present:
        return []
    await connection.execute(create_view(view))
    return [f"created view consumer.{view.view}"]


def create_table(table: Table) -> Sql:
    """The statement that creates an event's table, each column of the first kind that it may have.

    Optional columns are left out: `add_column` adds them.
    """
    columns = joined(_definition(column) for column in table.columns if not column.optional)
    return fill(_CREATE_TABLE, table=qualified(table.name), columns=columns)


def create_view(view: DuplicatesView) -> Sql:
    """The statement that creates the view of the tokens that a column has more than once."""
    users = ""
    if view.subject is not None:
        users = f",\n    count(DISTINCT event.{identifier(view.subject)}) AS users"
    return fill(
        _CREATE_DUPLICATES_VIEW,
        view=qualified(f"consumer.{view.view}"),
        table=qualified(view.table),
        column=identifier(view.column),
        name=literal(f"{view.table}.{view.column}"),
        day=identifier(view.day),
        users=Sql(users),
    )


def type_of(column: Column, kind: Kind) -> Sql:
    """The type that a column of this kind is created with."""
    if kind is Kind.TEXT and column.length is not None:
        return Sql(f"varchar({column.length})")
    return Sql(kind.value)


def _definition(column: Column) -> Sql:
    return joined((identifier(column.name), type_of(column, column.kinds[0])), " ")
