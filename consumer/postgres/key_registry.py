"""The key registry: the fingerprint of each masking key, so that no two keys have the same name."""

from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest

import asyncpg

from consumer.errors import KeyRingError
from consumer.postgres.errors import translated
from consumer.postgres.queries import load_queries

_QUERIES = load_queries(__package__, "sql/queries.sql")
_REGISTER = _QUERIES["register_fingerprints"]
_REGISTERED = _QUERIES["registered_fingerprints"]
_FIRST_SEEN = _QUERIES["first_seen"]


async def register_fingerprints(
    connection: asyncpg.Connection, fingerprints: Mapping[str, bytes]
) -> None:
    """Compare fingerprints, by kid, with the registered ones, and register those that are new.

    Of two replicas that start at once with different keys under one name, the first decides. A
    ring that is refused registers nothing: its other names stay free.

    Raises:
        KeyRingError: another key is registered under one of the names.
        DatabaseError: as of any statement.
    """
    with translated():
        async with connection.transaction():
            # Waits until another replica that registers the same names commits.
            await connection.execute(_REGISTER, list(fingerprints), list(fingerprints.values()))
            # A statement of its own, so that it sees what that replica committed.
            await compare_fingerprints(connection, fingerprints)


async def compare_fingerprints(
    connection: asyncpg.Connection, fingerprints: Mapping[str, bytes]
) -> None:
    """Compare fingerprints, by kid, with those that are registered.

    Raises:
        KeyRingError: another key is registered under one of the names.
        DatabaseError: as of any statement.
    """
    with translated():
        registered = await connection.fetch(_REGISTERED, list(fingerprints))
    faults = [
        f"{kid} is not the key that this database knows as {kid}: use the key ring of the other"
        " replicas, or give the new key a name of its own"
        for kid, fingerprint in registered
        if not compare_digest(fingerprints[kid], fingerprint)
    ]
    if faults:
        raise KeyRingError(*faults)


async def first_seen(connection: asyncpg.Connection) -> Mapping[str, datetime]:
    """By kid, when a replica first started with the key; raises DatabaseError."""
    with translated():
        known = await connection.fetch(_FIRST_SEEN)
    return {record["kid"]: record["first_seen"] for record in known}
