"""The commands, one a file. Each gets the path of the settings as click's object."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import TypeVar

_T = TypeVar("_T")

_ALLOCATIONS_BETWEEN_COLLECTIONS = 20_000


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end, on uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.run(main)
    # Imported here, for it does not exist everywhere.
    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def spare_the_cycle_collector() -> None:
    """Let Python's cycle collector look less often, and not at what importing has made.

    Nothing on a message's way is in a cycle, and on its defaults the search takes a twentieth of
    the CPU that a message costs.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
