"""The service under simulation, of which a mutant replaces a part."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from consumer.events.model import table_of
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import Message, Outcome, Quarantined, Reason, Row
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.ports import MessageTransform, Sink, Source
from tests.fakes.database import MemoryDatabase
from tests.fakes.queue import MemoryQueue
from tests.history.checker import Rules
from tests.history.rules import rules_of
from tests.simulation.edges import FaultySink, FaultySource, Link
from tests.simulation.scenario import REFUSED_LOCALE

KINDS = {each.name: each.kinds[0] for each in table_of(UserLogin).columns if not each.optional}
RING = KeyRing.generate("k1", os.urandom)
_LOCALE = list(KINDS).index("locale")
_CONSTRAINT = "known_locale"


def is_refused(row: Row) -> bool:
    """Whether the CHECK constraint is against this row."""
    return row.values[_LOCALE] == REFUSED_LOCALE


def database() -> MemoryDatabase:
    return MemoryDatabase(refuses=is_refused, constraint=_CONSTRAINT)


def _rules(transform: MessageTransform) -> Rules:
    rules = rules_of(UserLogin, KINDS, RING)

    @cache  # the same few messages are sent in every run
    def expect(message: Message) -> Outcome:
        (outcome,) = transform.each((message,))
        if isinstance(outcome, Row) and is_refused(outcome):
            return transform.quarantine(message, Reason.REJECTED_BY_DATABASE, _CONSTRAINT)
        return outcome

    recover = {position: cache(each) for position, each in rules.recover.items()}
    return replace(rules, expect=expect, recover=recover)


@dataclass(frozen=True, slots=True)
class _Remembering:
    """A transform that is asked once for each message: the same few are sent in every run.

    A message's time follows from its id.
    """

    transform: MessageTransform
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [self._of(message) for message in messages]

    def _of(self, message: Message) -> Outcome:
        key = message.message_id, message.body
        if key not in self.outcomes:
            (self.outcomes[key],) = self.transform.each((message,))
        known = self.outcomes[key]
        if isinstance(known, Row):
            return known._replace(message=message)
        return replace(known, message=message)

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        return self.transform.quarantine(message, reason, field_name)


_TRANSFORM = _Remembering(Transform(UserLogin, KINDS, RING))


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a replica, and the rules of the run."""

    pipeline: type[Pipeline] = Pipeline
    source: Callable[[Link, MemoryQueue], Source] = FaultySource
    sink: Callable[[Link, MemoryDatabase], Sink] = FaultySink
    transform: MessageTransform = _TRANSFORM
    database: Callable[[], MemoryDatabase] = database
    rules: Rules = field(default=_rules(Transform(UserLogin, KINDS, RING)))


SERVICE = Service()
