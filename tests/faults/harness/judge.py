"""The checker's verdict over a run of real processes."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from consumer.events.model import table_of
from consumer.events.table import ColumnKinds
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import Message, Outcome, Reason, Row
from consumer.postgres.inspect import inspect_table
from tests.history.checker import Rules, Verdict, check
from tests.history.evidence import commits, contents_of
from tests.history.leaks import leaks_below, leaks_in_file
from tests.history.marked import Marks
from tests.history.rules import rules_of
from tests.history.steps import Entry, Left, Sent, merged


@dataclass(frozen=True)
class Refusal:
    """A CHECK constraint that the table's owner added, and which rows it refuses."""

    constraint: str
    refuses: Callable[[Row], bool]


async def verdict_of(
    connection: asyncpg.Connection,
    *,
    ring: KeyRing,
    sent: Iterable[Sent],
    deleted: Iterable[Entry],
    left: Left,
    refusal: Refusal | None = None,
) -> Verdict:
    """Judge what a database holds by what was sent and by when deletes were asked for."""
    table = table_of(UserLogin)
    kinds = await inspect_table(connection, table)
    rules = rules_of(UserLogin, kinds, ring)
    return check(
        rules=rules if refusal is None else _refusing(rules, kinds, ring, refusal),
        sent=sent,
        history=merged(await commits(connection), deleted),
        contents=await contents_of(connection, table, kinds),
        left=left,
    )


def with_leaks(verdict: Verdict, seed: int, paths: Iterable[Path]) -> Verdict:
    """Search files, and all files below folders, for the values of the feed with this seed."""
    marks = Marks(random.Random(seed))  # noqa: S311 as the feed made them
    return verdict.and_also(
        violation
        for path in paths
        for violation in (leaks_below if path.is_dir() else leaks_in_file)(path, marks)
    )


def _refusing(rules: Rules, kinds: ColumnKinds, ring: KeyRing, refusal: Refusal) -> Rules:
    transform = Transform(UserLogin, kinds, ring)

    def expect(message: Message) -> Outcome:
        outcome = transform(message)
        if isinstance(outcome, Row) and refusal.refuses(outcome):
            reason = Reason.REJECTED_BY_DATABASE
            return transform.quarantine(message, reason, refusal.constraint)
        return outcome

    return replace(rules, expect=expect)
