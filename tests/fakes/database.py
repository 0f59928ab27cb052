"""A database in memory that commits each message once, and fails on demand."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.errors import DataRejectedError
from consumer.messages import Message, Outcome, Quarantined, Row, Written
from tests.history.steps import DatabaseContents, QuarantineRow, Step

_CHECK_VIOLATION = "23514"


@dataclass
class MemoryDatabase:
    """Implements the pipeline's Sink. Like PostgreSQL's table, `rows` have no key of their own."""

    commit_seconds: float = 0.01
    ledger: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    # Called with each batch before it is committed; raises DatabaseError to make it fail.
    fault: Callable[[Sequence[Outcome]], None] = lambda _: None
    # Rows that the table has a CHECK constraint against, which is named `constraint`.
    refuses: Callable[[Row], bool] = lambda _: False
    constraint: str = "allowed"
    # Without it, a message is written as often as it is redelivered.
    has_ledger: bool = True
    # Called with each step that a message takes here, at once.
    witness: Callable[[Step, Message], None] = lambda *_: None

    async def write(self, batch: Sequence[Outcome]) -> Written:
        await asyncio.sleep(self.commit_seconds)
        self.fault(batch)
        return self.commit(batch)

    def commit(self, batch: Sequence[Outcome]) -> Written:
        """What the one statement does, at once."""
        fresh = self._fresh(batch) if self.has_ledger else batch
        if any(isinstance(each, Row) and self.refuses(each) for each in fresh):
            raise DataRejectedError(_CHECK_VIOLATION, self.constraint)
        self.batches.append(len(batch))
        reasons = Counter(each.reason for each in fresh if isinstance(each, Quarantined))
        for each in fresh:
            self.ledger.add(each.message.message_id)
            if isinstance(each, Row):
                self.rows.append(each)
                self.witness(Step.COMMITTED, each.message)
            else:
                self.quarantine.append(each)
                self.witness(Step.QUARANTINED, each.message)
        rows = len(fresh) - reasons.total()
        return Written(rows, dict(reasons), len(batch) - len(fresh))

    def contents(self) -> DatabaseContents:
        """All that is in the tables."""
        return DatabaseContents(
            rows=[row.values for row in self.rows],
            ledger=sorted(self.ledger),
            quarantine=list(map(QuarantineRow.of, self.quarantine)),
        )

    def _fresh(self, batch: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes whose messages the ledger does not have, each once."""
        distinct = {each.message.message_id: each for each in batch}
        return [each for key, each in distinct.items() if key not in self.ledger]
