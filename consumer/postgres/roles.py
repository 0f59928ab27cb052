"""The group roles: one for each kind of work, none with more than its work takes."""

from collections.abc import Sequence

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.events.table import DuplicatesView, Table
from consumer.postgres.errors import translated
from consumer.postgres.queries import identifier, load_statement, qualified
from consumer.postgres.schema import columns_in

ROLES = ("consumer_writer", "consumer_analyst", "consumer_officer", "consumer_maintenance")
_UNDEFINED_TABLE = "42P01"
# As quoted by the server; the table's name alone does not tell it.
_SCHEMA = (
    "SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class WHERE oid = $1::regclass"
)


async def grant_roles(
    connection: asyncpg.Connection,
    table: Table,
    repeats: Sequence[DuplicatesView],
    masked: Sequence[str],
) -> tuple[str, ...]:
    """Make the roles where they are missing, and grant each its rights; return lines to show.

    The roles cannot log in: an operator grants them to roles that can. `masked` are the columns
    of tokens that the model declares, the only ones of the table that maintenance may change.

    Raises:
        DatabaseRefusedError: the table is missing, or this role may not make roles or grant.
        DatabaseError: as of any statement.
    """
    with translated():
        async with connection.transaction():
            present = await columns_in(connection, table.name)
            if not present:
                raise DatabaseRefusedError(_UNDEFINED_TABLE, f"table {table.name} is missing")
            views = [qualified(f"consumer.{each.view}") for each in repeats]
            found = [
                view
                for view in views
                if await connection.fetchval("SELECT to_regclass($1)", view) is not None
            ]
            tokens = ", ".join(identifier(name) for name in masked if name in present)
            statements = load_statement("consumer.postgres", "sql/roles.sql").format(
                table=qualified(table.name),
                schema=await connection.fetchval(_SCHEMA, qualified(table.name)),
                views="".join(f", {view}" for view in found),
                update=f", UPDATE ({tokens})" if tokens else "",
            )
            await connection.execute(statements)
    return tuple(f"granted {role} its rights" for role in ROLES)
