"""Keeps two different keys from going by the same name."""

from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest

import asyncpg

from consumer.errors import KeyRingError
from consumer.postgres.errors import translated
from consumer.postgres.queries import load_queries

_QUERIES = load_queries("consumer.postgres", "sql/queries.sql")
_REGISTER = _QUERIES["register_fingerprints"]
_REGISTERED = _QUERIES["registered_fingerprints"]
_FIRST_SEEN = _QUERIES["first_seen"]


async def register_fingerprints(
    connection: asyncpg.Connection, checks: Mapping[str, bytes]
) -> None:
    """Compare each key's check with the one that the database has, and leave the new ones there.

    Of two replicas that start at once with different keys under one name, the first decides. A
    ring that is refused leaves nothing behind: its other names are free still.

    Raises:
        KeyRingError: the database knows another key under one of the names.
        DatabaseError: as of any statement.
    """
    with translated():
        async with connection.transaction():
            # Waits for another replica that is about to leave the same names, until it commits.
            await connection.execute(_REGISTER, list(checks), list(checks.values()))
            # A statement of its own, so that it sees what that replica committed.
            await compare_fingerprints(connection, checks)


async def compare_fingerprints(connection: asyncpg.Connection, checks: Mapping[str, bytes]) -> None:
    """Compare each key's check with the one that the database has, if it has one.

    Raises:
        KeyRingError: the database knows another key under one of the names.
        DatabaseError: as of any statement.
    """
    with translated():
        known = await connection.fetch(_REGISTERED, list(checks))
    faults = [
        f"{kid} is not the key that this database knows as {kid}: use the key ring of the other"
        " replicas, or give the new key a name of its own"
        for kid, check in known
        if not compare_digest(checks[kid], check)
    ]
    if faults:
        raise KeyRingError(*faults)


async def first_seen(connection: asyncpg.Connection) -> Mapping[str, datetime]:
    """By kid, when a replica first started with the key; raises DatabaseError."""
    with translated():
        known = await connection.fetch(_FIRST_SEEN)
    return {record["kid"]: record["first_seen"] for record in known}
