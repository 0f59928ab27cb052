"""Takes over a changed key ring while messages go on."""

import asyncio
from collections.abc import Awaitable, Callable

from consumer.errors import (
    ConsumerError,
    DatabaseError,
    DatabaseRefusedError,
    KeyRingError,
    KeySourceError,
)
from consumer.keys.sources import InlineKeys, KeySource, load_key_ring
from consumer.masking.key_ring import KeyRing
from consumer.postgres.connection import ConnectionSettings, briefly_connected
from consumer.postgres.key_registry import register_fingerprints
from consumer.telemetry import events as telemetry


async def reload_key_ring(
    asked: asyncio.Event,
    load: Callable[[], Awaitable[KeyRing]],
    use: Callable[[KeyRing], None],
    emit: telemetry.Listener,
) -> None:
    """Each time `asked` is set, load the ring and use it; where that fails the old one stays.

    Messages do not wait for it: until `use` is called they are masked with the ring before.
    """
    while True:
        await asked.wait()
        asked.clear()
        try:
            ring = await load()
            use(ring)
        except ConsumerError as error:
            emit(telemetry.KeyRingReloadRejected(str(error), refused=not _may_pass(error)))
        else:
            emit(telemetry.KeyRingLoaded(ring.primary, len(ring.keys), reloaded=True))


async def registered_key_ring(source: KeySource, server: ConnectionSettings) -> KeyRing:
    """The ring as it is now, which the database does not contradict.

    Raises:
        KeyRingError: it is wrong, or the database knows another key under one of its names.
        KeySourceError, DatabaseError: it could not be read or compared, for now.
    """
    if isinstance(source, InlineKeys):
        raise KeyRingError(
            "masking.keyring is read at the start alone: to change the ring of a running consumer,"
            " set masking.keyring_file or masking.keyring_source instead"
        )
    ring = await load_key_ring(source)
    async with briefly_connected(server) as connection:
        await register_fingerprints(connection, ring.fingerprints())
    return ring


def _may_pass(error: ConsumerError) -> bool:
    if isinstance(error, DatabaseRefusedError):
        return False
    return isinstance(error, KeySourceError | DatabaseError)
