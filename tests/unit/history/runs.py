"""A small run in which every promise is kept, to be spoiled in one place."""

import os
from dataclasses import dataclass, field

from consumer.events.model import table_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import ColumnValue, Row
from tests.history.checker import Rules, Verdict, check
from tests.history.rules import rules_of
from tests.history.steps import (
    Counted,
    DatabaseContents,
    Entry,
    Left,
    QuarantineRow,
    Sent,
    Step,
    Stopped,
)

KINDS = {each.name: each.kinds[0] for each in table_of(UserLogin).columns if not each.optional}
RING = KeyRing.generate("k1", os.urandom)
SENT_MS = 1_700_000_000_000


RULES = rules_of(UserLogin, KINDS, RING)


@dataclass
class Run:
    """What `check` is given; `of` fills it in as a service without a fault would."""

    rules: Rules = RULES
    sent: list[Sent] = field(default_factory=list)
    history: list[Entry | Counted | Stopped] = field(default_factory=list)
    rows: list[tuple[ColumnValue, ...]] = field(default_factory=list)
    ledger: list[str] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    deadlocks: int = 0
    left: Left = field(default_factory=Left)

    @classmethod
    def of(cls, *bodies: str, rules: Rules = RULES) -> "Run":
        run = cls(rules)
        for number, body in enumerate(bodies):
            run.deliver(Sent(f"00000000-0000-0000-0000-{number:012}", body, SENT_MS))
        return run

    def deliver(self, sent: Sent) -> None:
        self.sent.append(sent)
        outcome = self.rules.expect(sent.message())
        self.ledger.append(sent.message_id)
        if isinstance(outcome, Row):
            self.rows.append(outcome.values)
        else:
            self.quarantine.append(QuarantineRow.of(outcome))
        written = Step.COMMITTED if isinstance(outcome, Row) else Step.QUARANTINED
        steps = (Step.RECEIVED, written, Step.ACKNOWLEDGED, Step.DELETE_ASKED, Step.DELETED)
        self.history += [Entry(step, sent.message_id, "a") for step in (*steps, Step.CONFIRMED)]

    def verdict(self) -> Verdict:
        contents = DatabaseContents(self.rows, self.ledger, self.quarantine, self.deadlocks)
        return check(
            rules=self.rules,
            sent=self.sent,
            history=self.history,
            contents=contents,
            left=self.left,
        )
