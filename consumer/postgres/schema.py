"""Makes and upgrades schema `consumer`, and an event's table where there is none."""

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.postgres.failures import translated
from consumer.postgres.statements import identifier, migrations, quoted
from consumer.tables import Column, Kind, Table

_OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"

# Whoever comes second waits, and then finds nothing to do.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('consumer.migrate', 0))"
_APPLIED = """
    CREATE TABLE consumer.migrations (
        number integer PRIMARY KEY,
        name text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


async def migrate(connection: asyncpg.Connection, table: Table) -> tuple[str, ...]:
    """Bring the database to this release's schema; return a line for each thing done.

    All of it in one transaction, and safe when several replicas do it at once. A table that is
    there is never altered.

    Raises:
        DatabaseRefusedError: the database is of a newer release, or this role lacks a right.
        DatabaseError: as of any statement.
    """
    with translated():
        async with connection.transaction():
            await connection.execute(_LOCK)
            done = await _upgrade(connection)
            if await connection.fetchval("SELECT to_regclass($1)", quoted(table.name)) is None:
                await connection.execute(create_table(table))
                done.append(f"created table {table.name}")
    return tuple(done)


async def schema_version(connection: asyncpg.Connection) -> int:
    """The number of the newest migration in the database; 0 if there is none."""
    if await connection.fetchval("SELECT to_regclass('consumer.migrations')") is None:
        return 0
    newest = await connection.fetchval("SELECT coalesce(max(number), 0) FROM consumer.migrations")
    assert isinstance(newest, int)
    return newest


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
    """The statement that makes an event's table, each column of the first kind that it may have."""
    columns = ", ".join(f"{identifier(column.name)} {_type(column)}" for column in table.columns)
    return f"CREATE TABLE {quoted(table.name)} ({columns})"


def _type(column: Column) -> str:
    kind = column.kinds[0]
    if kind is Kind.TEXT and column.length is not None:
        return f"varchar({column.length})"
    return kind.value
