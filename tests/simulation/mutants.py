"""The service with one thing broken each; the checker must catch all of them."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from unittest.mock import patch

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking import mask
from consumer.masking.ciphers import base64url_decode, base64url_encode
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mode
from consumer.messages import Message, Outcome, Row, Written
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.ports import BatchFailure
from consumer.pipeline.retrying import Backoff
from consumer.telemetry import events as telemetry
from tests.fakes.database import MemoryDatabase
from tests.history.checker import Kind
from tests.history.rules import rules_of
from tests.simulation.edges import LyingSource
from tests.simulation.service import KINDS, RING, SERVICE, Service, database


class DeletesBeforeCommit(Pipeline):
    def _start_tracking(self, messages: Sequence[Message], started: float) -> None:
        super()._start_tracking(messages, started)
        self._to_delete.extend(messages)
        self._committed.set()


class CountsBeforeCommit(Pipeline):
    async def _commit(self, batch: Sequence[Outcome], backoff: Backoff) -> None:
        rows = sum(isinstance(outcome, Row) for outcome in batch)
        self._emit(telemetry.Committed(rows, {}, 0, 0.0, ()))
        await super()._commit(batch, backoff)

    def _pass_to_deleters(self, batch: Sequence[Outcome], written: Written, seconds: float) -> None:
        del written, seconds
        self._to_delete.extend(outcome.message for outcome in batch)
        self._committed.set()


class StopsHeartbeatAtShutdown(Pipeline):
    async def run(self, stop: asyncio.Event) -> None:
        heartbeat = self._visibility.heartbeat

        async def until_stop() -> None:
            task = asyncio.create_task(heartbeat())
            await stop.wait()
            task.cancel()
            await asyncio.wait([task])

        with patch.object(self._visibility, "heartbeat", until_stop):
            await super().run(stop)


class NeverExtends(Pipeline):
    async def run(self, stop: asyncio.Event) -> None:
        with patch.object(self._visibility, "heartbeat", asyncio.Event().wait):
            await super().run(stop)


class ReleasesNothing(Pipeline):
    async def run(self, stop: asyncio.Event) -> None:
        async def nothing() -> int:
            return 0

        with patch.object(self._visibility, "release_all", nothing):
            await super().run(stop)


class ForgetsToReportRoom(Pipeline):
    """A poll that brought nothing leaves one that waits for its room waiting for ever."""

    async def _long_poll(self, started: float) -> Sequence[Message]:
        with patch.object(self._room_changed, "set", lambda: None):
            return await super()._long_poll(started)


class WakesNobodyAtStop(Pipeline):
    """A poller that waits for room does not notice the stop."""

    async def run(self, stop: asyncio.Event) -> None:
        wake = self._room_changed.set

        def wake_before_stop() -> None:
            if not stop.is_set():
                wake()

        with patch.object(self._room_changed, "set", wake_before_stop):
            await super().run(stop)


class FailedNotRead(LyingSource):
    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        await super().delete(messages)
        return ()


class WithoutLedger(MemoryDatabase):
    def _fresh(self, batch: Sequence[Outcome]) -> Sequence[Outcome]:
        return batch


class _RandomSiv:
    """AES-SIV with a random IV beside it, as one who fears equal tokens would have it."""

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._aead = AESSIV(key_ring.derive(kid, column, "siv", 64))

    def seal(self, data: bytes) -> str:
        iv = os.urandom(16)
        return base64url_encode(iv + self._aead.encrypt(data, [iv]))

    def open(self, text: str) -> bytes:
        sealed = base64url_decode(text)
        assert sealed is not None
        return self._aead.decrypt(sealed[16:], [sealed[:16]])


def _random_iv() -> Service:
    with patch.object(mask, "_CIPHERS", {**mask._CIPHERS, Mode.SIV: _RandomSiv}):
        recover = rules_of(UserLogin, KINDS, RING).recover
        transform = Transform(UserLogin, KINDS, RING)
    return replace(SERVICE, transform=transform, rules=replace(SERVICE.rules, recover=recover))


def _without_ledger() -> MemoryDatabase:
    honest = database()
    return WithoutLedger(refuses=honest.refuses, constraint=honest.constraint)


# By name: the service, and what it must be convicted of.
MUTANTS: Mapping[str, tuple[Service, Kind]] = {
    "delete before commit": (
        replace(SERVICE, pipeline=DeletesBeforeCommit),
        Kind.DELETED_BEFORE_COMMITTED,
    ),
    "delete before commit, and then killed": (
        replace(SERVICE, pipeline=DeletesBeforeCommit),
        Kind.LOST,
    ),
    "counting before commit": (replace(SERVICE, pipeline=CountsBeforeCommit), Kind.OVERCOUNTED),
    "heartbeat that stops at shutdown": (
        replace(SERVICE, pipeline=StopsHeartbeatAtShutdown),
        Kind.LEFT_TO_EXPIRE,
    ),
    "no heartbeat": (replace(SERVICE, pipeline=NeverExtends), Kind.LEFT_TO_EXPIRE),
    "nobody woken at a stop": (replace(SERVICE, pipeline=WakesNobodyAtStop), Kind.STUCK),
    "nothing released": (replace(SERVICE, pipeline=ReleasesNothing), Kind.LEFT_IN_FLIGHT),
    "Failed not read": (replace(SERVICE, source=FailedNotRead), Kind.OVERCOUNTED),
    "ledger off": (replace(SERVICE, database=_without_ledger), Kind.DUPLICATED),
    "random IV": (_random_iv(), Kind.WRONG_CONTENT),
    "random IV, one value twice": (_random_iv(), Kind.TWO_TOKENS),
}
