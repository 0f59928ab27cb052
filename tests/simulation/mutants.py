"""The service with one thing broken each; the checker must catch all of them.

A mutant replaces a port, or it is the pipeline's own source with one place changed.
"""

import asyncio
import inspect
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

from consumer.errors import DatabaseError
from consumer.messages import Message, Outcome, Quarantined, Reason, Row, Written
from consumer.pipeline import pipeline
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.ports import BatchFailure, MessageTransform
from tests.fakes.database import MemoryDatabase
from tests.history.checker import Kind, Recover
from tests.history.steps import Step
from tests.simulation.edges import FaultySink, FaultySource
from tests.simulation.service import SERVICE, Service, database


class NeverExtends(FaultySource):
    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        return () if seconds else await super().extend(messages, seconds)


class ReleasesNothing(FaultySource):
    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        return await super().extend(messages, seconds) if seconds else ()


class FailedNotRead(FaultySource):
    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        await super().delete(messages)
        return ()


class AcknowledgesBeforeCommit(FaultySink):
    """Like a database with synchronous_commit off whose replica is killed before the commit."""

    async def write(self, batch: Sequence[Outcome]) -> Written:
        asyncio.get_running_loop().call_later(0.1, self._commit_late, batch)
        messages = [outcome.message for outcome in batch]
        self.link.world.note(Step.ACKNOWLEDGED, messages, self.link.replica)
        reasons = Counter(each.reason for each in batch if isinstance(each, Quarantined))
        return Written(len(batch) - reasons.total(), dict(reasons), 0)

    def _commit_late(self, batch: Sequence[Outcome]) -> None:
        with suppress(DatabaseError):
            self.database.commit(batch)


def without_ledger() -> MemoryDatabase:
    return replace(database(), has_ledger=False)


@dataclass(frozen=True, slots=True)
class RandomIv:
    """Makes another token of a value each time, as a random IV does; each of them recovers."""

    transform: MessageTransform
    columns: Mapping[int, Recover]

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [self._salted(outcome) for outcome in self.transform.each(messages)]

    def _salted(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Row):
            return outcome
        values = list(outcome.values)
        for column in self.columns:
            if values[column] is not None:
                values[column] = f"{values[column]}~{os.urandom(8).hex()}"
        return outcome._replace(values=tuple(values))

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        return self.transform.quarantine(message, reason, field_name)

    def recover(self, column: int, token: str) -> str:
        return self.columns[column](token.partition("~")[0])


def _random_iv() -> Service:
    transform = RandomIv(SERVICE.transform, SERVICE.rules.recover)
    recover = {column: partial(transform.recover, column) for column in transform.columns}
    return replace(SERVICE, transform=transform, rules=replace(SERVICE.rules, recover=recover))


def _edited(old: str, new: str) -> Service:
    """The service with another pipeline: in its source, `new` stands in the place of `old`."""
    source = inspect.getsource(pipeline)
    assert source.count(old) == 1, f"{source.count(old)} places in the pipeline: {old}"
    module = ModuleType("edited_pipeline")
    exec(compile(source.replace(old, new), module.__name__, "exec"), vars(module))  # noqa: S102  # our own source
    edited: type[Pipeline] = module.Pipeline
    return replace(SERVICE, pipeline=edited)


DELETES_BEFORE_COMMIT = _edited(
    """
                written = await self._sink.write(batch)
""",
    """
                self._to_delete.extend(outcome.message for outcome in batch)
                self._committed.set()
                written = await self._sink.write(batch)
""",
)
STOPS_HEARTBEAT_AT_SHUTDOWN = _edited(
    """
                self._emit(telemetry.Stopping(self.in_flight))
""",
    """
                self._emit(telemetry.Stopping(self.in_flight))
                heartbeat.cancel()
""",
)
# A poller that waits for room does not notice the stop.
WAKES_NO_POLLER_AT_STOP = _edited(
    """
                self._emit(telemetry.Stopping(self.in_flight))
                self._room_changed.set()
""",
    """
                self._emit(telemetry.Stopping(self.in_flight))
""",
)
# A poller that waits for room does not notice that another's poll brought nothing.
FORGETS_TO_REPORT_ROOM = _edited(
    """
            self._in_flight.close_poll(messages)
            self._room_changed.set()
""",
    """
            self._in_flight.close_poll(messages)
""",
)
_ACKNOWLEDGES_BEFORE_COMMIT = replace(SERVICE, sink=AcknowledgesBeforeCommit)
_RANDOM_IV = _random_iv()

# By name: the service, and what it must be convicted of.
MUTANTS: Mapping[str, tuple[Service, Kind]] = {
    "delete before commit": (DELETES_BEFORE_COMMIT, Kind.DELETED_BEFORE_COMMITTED),
    "delete before commit, and then killed": (DELETES_BEFORE_COMMIT, Kind.LOST),
    "acknowledged before commit": (_ACKNOWLEDGES_BEFORE_COMMIT, Kind.DELETED_BEFORE_COMMITTED),
    "counting before commit": (_ACKNOWLEDGES_BEFORE_COMMIT, Kind.OVERCOUNTED),
    "heartbeat that stops at shutdown": (STOPS_HEARTBEAT_AT_SHUTDOWN, Kind.LEFT_TO_EXPIRE),
    "no heartbeat": (replace(SERVICE, source=NeverExtends), Kind.LEFT_TO_EXPIRE),
    "no poller woken at a stop": (WAKES_NO_POLLER_AT_STOP, Kind.STUCK),
    "nothing released": (replace(SERVICE, source=ReleasesNothing), Kind.LEFT_IN_FLIGHT),
    "Failed not read": (replace(SERVICE, source=FailedNotRead), Kind.OVERCOUNTED),
    "ledger off": (replace(SERVICE, database=without_ledger), Kind.DUPLICATED),
    "random IV": (_RANDOM_IV, Kind.WRONG_CONTENT),
    "random IV, one value twice": (_RANDOM_IV, Kind.TWO_TOKENS),
}
