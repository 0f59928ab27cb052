"""Decides I1 to I5 and I7 over a run. Violations name message ids and never hold a raw value."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from consumer.errors import TokenError
from consumer.messages import ColumnValue, Message, Outcome, Quarantined, Row
from tests.history.steps import (
    Counted,
    DatabaseContents,
    Entry,
    History,
    Left,
    QuarantineRow,
    Sent,
    Step,
    Stopped,
)

_SHOWN = 20

Expect = Callable[[Message], Outcome]
Unseal = Callable[[str, str, bytes], str]
Recover = Callable[[str], str]


class Kind(StrEnum):
    """What a violation is; the promise that it breaks is behind it."""

    LOST = "lost"  # I1, I2, I3
    DUPLICATED = "duplicated"  # I1, I2
    UNEXPECTED = "unexpected"  # I3
    WRONG_CONTENT = "wrong content"  # I1, I2
    MISJUDGED = "misjudged"  # I1: valid, and in quarantine
    DELETED_BEFORE_COMMITTED = "deleted before committed"  # I5
    LEFT_ON_QUEUE = "left on queue"  # I4
    LEFT_IN_FLIGHT = "left in flight"  # I4
    DEAD_LETTERED = "dead-lettered"  # I4
    LEFT_TO_EXPIRE = "left to expire"  # I4: redelivered to others while it was held
    TWO_TOKENS = "two tokens"  # I7
    OVERCOUNTED = "overcounted"  # counts are of what is committed or confirmed, and no more
    DEADLOCKED = "deadlocked"  # writers must lock in one order
    STUCK = "stuck"  # I4, I8: what was asked to stop does not; reported by who ran it
    RAISED = "raised"  # it ended by an error of its own; reported by who ran it
    LEAKED = "leaked"  # I6; found by `leaks`


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, and of which messages; not all ids are kept where it is of many."""

    kind: Kind
    detail: str
    message_ids: tuple[str, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        of = f" of {', '.join(self.message_ids)}" if self.message_ids else ""
        return f"{self.kind}: {self.count}: {self.detail}{of}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says of a run."""

    violations: tuple[Violation, ...]
    sent: int

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of violation there are."""
        return frozenset(violation.kind for violation in self.violations)

    def count(self, kind: Kind) -> int:
        """How many there are of one kind."""
        return sum(each.count for each in self.violations if each.kind is kind)

    def and_also(self, violations: Iterable[Violation]) -> "Verdict":
        """This verdict with what was found elsewhere, as by `leaks`."""
        return Verdict((*self.violations, *violations), self.sent)

    def __str__(self) -> str:
        counts = ", ".join(f"{self.count(kind)} {kind}" for kind in Kind)
        more = len(self.violations) - _SHOWN
        lines = [f"{self.sent} sent: {counts}", *map(str, self.violations[:_SHOWN])]
        return "\n  ".join(lines + [f"and {more} more violations"] * (more > 0))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a message should have become: `expect` is f(message, key ring), of I1.

    Where a test makes PostgreSQL itself refuse rows, its `expect` says so. `unseal` opens the body
    of a quarantine row, given kid, message id and sealed body; `recover` gives, by position in the
    row, what turns a token into the canonical value. Both raise TokenError.
    """

    expect: Expect
    unseal: Unseal
    recover: Mapping[int, Recover] = field(default_factory=dict)


def check(
    *, rules: Rules, sent: Iterable[Sent], history: History, contents: DatabaseContents, left: Left
) -> Verdict:
    """Judge a run that has ended: its faults are over and it was given the time to drain."""
    content = _Content(rules, sent)
    violations = chain(
        content.violations(contents),
        order(history),
        leftovers(left),
        _deadlocks(contents.deadlocks),
    )
    return Verdict(tuple(violations), content.sent)


def order(history: History) -> Iterator[Violation]:
    """I5, what a stop leaves, and that counts never run ahead, at each point of a history."""
    judge = _Order()
    for each in history:
        yield from judge.next(each)


def leftovers(left: Left) -> Iterator[Violation]:
    """I4: at the end the queue is empty, nothing is in flight, and nothing was given up."""
    for kind, count in (
        (Kind.LEFT_ON_QUEUE, left.visible),
        (Kind.LEFT_IN_FLIGHT, left.in_flight),
        (Kind.DEAD_LETTERED, left.dead_lettered),
    ):
        if count:
            yield Violation(kind, "at the end", count=count)


def _deadlocks(count: int) -> Iterator[Violation]:
    if count:
        yield Violation(Kind.DEADLOCKED, "PostgreSQL had to end a statement", count=count)


class _Content:
    """I1, I2, I3 and I7. Rows are compared as a multiset of digests: they carry no message id."""

    def __init__(self, rules: Rules, sent: Iterable[Sent]) -> None:
        self._rules = rules
        self._rows: dict[bytes, list[str]] = {}
        self._refused: dict[str, bytes] = {}
        self._ids: set[str] = set()
        for each in sent:
            if each.message_id not in self._ids:
                self._ids.add(each.message_id)
                self._expect(each)
        self.sent = len(self._ids)

    def _expect(self, sent: Sent) -> None:
        outcome = self._rules.expect(sent.message())
        if isinstance(outcome, Row):
            self._rows.setdefault(_digest(outcome.values), []).append(sent.message_id)
        else:
            self._refused[sent.message_id] = _refusal(outcome, sent.body)

    def violations(self, contents: DatabaseContents) -> Iterator[Violation]:
        ledger = Counter(contents.ledger)
        yield from _of_ids(Kind.LOST, "not in the ledger", self._ids - ledger.keys())
        yield from _of_ids(Kind.UNEXPECTED, "in the ledger, never sent", ledger.keys() - self._ids)
        quarantine: Counter[str] = Counter()
        for row in contents.quarantine:
            quarantine[row.message_id] += 1
            yield from self._judge_refused(row)
        twice = [message_id for message_id, count in quarantine.items() if count > 1]
        yield from _of_ids(Kind.DUPLICATED, "more than one quarantine row", twice)
        missing = (ledger.keys() & self._refused.keys()) - quarantine.keys()
        yield from _of_ids(Kind.LOST, "in the ledger, not in quarantine", missing)
        tokens = _Tokens(self._rules.recover)
        found: Counter[bytes] = Counter()
        for values in contents.rows:
            found[_digest(values)] += 1
            yield from tokens.look(values)
        yield from self._judge_rows(found, ledger.keys() - quarantine.keys())

    def _judge_refused(self, row: QuarantineRow) -> Iterator[Violation]:
        ids = (row.message_id,)
        if row.message_id not in self._ids:
            yield Violation(Kind.UNEXPECTED, "in quarantine, never sent", ids)
        elif row.message_id not in self._refused:
            yield Violation(Kind.MISJUDGED, f"valid, but in quarantine: {row.reason}", ids)
        else:
            try:
                body = self._rules.unseal(row.kid, row.message_id, row.sealed_body)
            except TokenError:
                yield Violation(Kind.WRONG_CONTENT, "its sealed body does not open", ids)
                return
            if self._refused[row.message_id] != _digest((str(row.reason), row.field_name, body)):
                yield Violation(Kind.WRONG_CONTENT, f"in quarantine as {row.reason}", ids)

    def _judge_rows(self, found: Counter[bytes], ledger: set[str]) -> Iterator[Violation]:
        missing: list[str] = []
        for digest, ids in self._rows.items():
            lacking = len(ids) - found[digest]
            if lacking > 0:
                # Equal rows cannot be distinguished; those that the ledger lacks are lost already.
                there = [message_id for message_id in ids if message_id in ledger]
                missing += there[: max(0, lacking - (len(ids) - len(there)))]
            elif lacking < 0:
                yield Violation(Kind.DUPLICATED, "too many rows", tuple(ids[:_SHOWN]), -lacking)
        alien = sum(count for digest, count in found.items() if digest not in self._rows)
        detail = "in the ledger, but its row is another than f(message, key ring)"
        yield from _of_ids(Kind.WRONG_CONTENT, detail, missing[:alien])
        yield from _of_ids(Kind.LOST, "in the ledger, but not a row", missing[alien:])
        if alien > len(missing):
            detail = "rows that are of no message"
            yield Violation(Kind.UNEXPECTED, detail, count=alien - len(missing))


class _Tokens:
    """I7: one token for one value, and every token recovers."""

    def __init__(self, recover: Mapping[int, Recover]) -> None:
        self._recover = recover
        self._token_of: dict[tuple[int, bytes], str] = {}
        self._seen: set[tuple[int, str]] = set()

    def look(self, values: tuple[ColumnValue, ...]) -> Iterator[Violation]:
        for position, recover in self._recover.items():
            token = values[position]
            if not isinstance(token, str) or (position, token) in self._seen:
                continue
            self._seen.add((position, token))
            try:
                canonical = _digest((recover(token),))
            except TokenError:
                detail = f"column {position} holds what is no token"
                yield Violation(Kind.WRONG_CONTENT, detail)
                continue
            first = self._token_of.setdefault((position, canonical), token)
            if first != token:
                detail = f"column {position} has {first} and {token} for one value"
                yield Violation(Kind.TWO_TOKENS, detail)


class _Order:
    """The state of `order`: what was committed, acknowledged and confirmed so far."""

    def __init__(self) -> None:
        self._committed: set[str] = set()
        self._acknowledged: set[tuple[str, str]] = set()
        self._happened: Counter[Step] = Counter()
        self._counted: Counter[Step] = Counter()

    def next(self, each: Entry | Counted | Stopped) -> Iterator[Violation]:
        if isinstance(each, Entry):
            yield from self._entry(each)
        elif isinstance(each, Counted):
            yield from self._claim(each)
        elif each.held:
            detail = f"hidden for {each.replica} after it stopped"
            yield from _of_ids(Kind.LEFT_IN_FLIGHT, detail, each.held)

    def _entry(self, entry: Entry) -> Iterator[Violation]:
        self._happened[entry.step] += 1
        ids = (entry.message_id,)
        match entry.step:
            case Step.COMMITTED | Step.QUARANTINED:
                self._committed.add(entry.message_id)
            case Step.ACKNOWLEDGED:
                self._acknowledged.add((entry.replica, entry.message_id))
            case Step.DELETE_ASKED:
                if (entry.replica, entry.message_id) not in self._acknowledged:
                    detail = f"{entry.replica} asked at {entry.at:.6f} s"
                    yield Violation(Kind.DELETED_BEFORE_COMMITTED, detail, ids)
            case Step.DELETED:
                if entry.message_id not in self._committed:
                    detail = f"the queue removed it at {entry.at:.6f} s"
                    yield Violation(Kind.DELETED_BEFORE_COMMITTED, detail, ids)
            case Step.EXPIRED:
                detail = f"{entry.replica} held it at {entry.at:.6f} s"
                yield Violation(Kind.LEFT_TO_EXPIRE, detail, ids)
            case Step.RECEIVED | Step.CONFIRMED | Step.RELEASED:
                pass

    def _claim(self, claim: Counted) -> Iterator[Violation]:
        for step, count in (
            (Step.COMMITTED, claim.rows),
            (Step.QUARANTINED, claim.quarantined),
            (Step.CONFIRMED, claim.deleted),
        ):
            before = max(self._counted[step], self._happened[step])
            self._counted[step] += count
            ahead = self._counted[step] - before
            if count and ahead > 0:
                detail = f"{claim.replica} counted as {step.name} at {claim.at:.6f} s"
                yield Violation(Kind.OVERCOUNTED, detail, count=ahead)


def _refusal(outcome: Quarantined, body: str) -> bytes:
    return _digest((outcome.reason.value, outcome.field_name, body))


def _digest(values: tuple[ColumnValue, ...]) -> bytes:
    data = repr(values).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


def _of_ids(kind: Kind, detail: str, message_ids: Iterable[str]) -> Iterator[Violation]:
    ids = sorted(message_ids)
    if ids:
        yield Violation(kind, detail, tuple(ids[:_SHOWN]), len(ids))
