"""The one place where tests wait."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.01


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within_seconds: float = 30
) -> None:
    """Return once `condition` holds; fail the test if it does not within the deadline."""
    try:
        async with asyncio.timeout(within_seconds):
            while not await _holds(condition):  # noqa: ASYNC110 the condition has no event
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        name = getattr(condition, "__qualname__", condition)
        raise AssertionError(f"{name} did not hold within {within_seconds} s") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
