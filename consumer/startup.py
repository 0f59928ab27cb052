"""How the start handles failures: a transient one is tried again, a refusal ends the start."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    KeySourceError,
    QueueError,
    QueueRefusedError,
)
from consumer.pipeline.retrying import Backoff
from consumer.telemetry import events as telemetry

_T = TypeVar("_T")


class StoppedDuringStartError(Exception):
    """A stop was asked for before the start was over."""


class Startup:
    """Tries each step of the start until it succeeds or `stop` is set."""

    def __init__(
        self, stop: asyncio.Event, backoff: Callable[[], Backoff], emit: telemetry.Listener
    ) -> None:
        self._stop = stop
        self._backoff = backoff
        self._emit = emit

    async def reach(self, step: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `step` returns once it succeeds.

        Raises:
            QueueRefusedError, DatabaseRefusedError, KeyRingError, SettingsError: at once.
            StoppedDuringStartError: `stop` was set.
        """
        backoff = self._backoff()
        while not self._stop.is_set():
            try:
                return await step()
            except (QueueRefusedError, DatabaseRefusedError):
                raise
            except (QueueError, KeySourceError, DatabaseError) as error:
                pause_seconds = backoff.pause_seconds()
                self._emit(_failure(error, pause_seconds))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._stop.wait()
        raise StoppedDuringStartError


def _failure(
    error: QueueError | KeySourceError | DatabaseError, pause_seconds: float
) -> telemetry.TelemetryEvent:
    match error:
        case QueueError():
            return telemetry.QueueFailed(
                error.operation, error.code, refused=False, pause_seconds=pause_seconds
            )
        case KeySourceError():
            return telemetry.KeyRingReadFailed(error.operation, error.code, pause_seconds)
        case DatabaseError():
            return telemetry.DatabaseUnavailable(error.sqlstate, pause_seconds, error.advice)
