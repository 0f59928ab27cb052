"""What SIGHUP does: the key ring is read again and replaces the current one, if it is right."""

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
from consumer.telemetry import events as telemetry


async def reload_key_ring(
    asked: asyncio.Event,
    source: KeySource,
    replace: Callable[[KeyRing], Awaitable[None]],
    emit: telemetry.Listener,
) -> None:
    """Read the ring each time that `asked` is set, and call `replace` with it.

    Messages do not wait for it. If a step fails, the current ring stays in use.
    """
    while True:
        await asked.wait()
        asked.clear()
        try:
            ring = await _read_again(source)
            await replace(ring)
        except ConsumerError as error:
            emit(telemetry.KeyRingReloadRejected(str(error), refused=not _is_transient(error)))
        else:
            emit(telemetry.KeyRingLoaded(ring.primary, len(ring.keys), reloaded=True))


async def _read_again(source: KeySource) -> KeyRing:
    if isinstance(source, InlineKeys):
        raise KeyRingError(
            "masking.keyring is read at the start only: to change the ring of a running consumer,"
            " set masking.keyring_file or masking.keyring_source instead"
        )
    return await load_key_ring(source)


def _is_transient(error: ConsumerError) -> bool:
    if isinstance(error, DatabaseRefusedError):
        return False
    return isinstance(error, KeySourceError | DatabaseError)
