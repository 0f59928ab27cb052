"""A database in memory that commits each message once, and fails on demand."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumer.messages import Outcome, Quarantined, Row, Written


@dataclass
class MemoryDatabase:
    """Implements the pipeline's Sink."""

    commit_seconds: float = 0.01
    rows: dict[str, Row] = field(default_factory=dict)
    quarantine: dict[str, Quarantined] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    # Called with each batch before it is committed; raises DatabaseError to make it fail.
    fault: Callable[[Sequence[Outcome]], None] = lambda _: None

    async def write(self, batch: Sequence[Outcome]) -> Written:
        await asyncio.sleep(self.commit_seconds)
        self.fault(batch)
        self.batches.append(len(batch))
        known = self.rows.keys() | self.quarantine.keys()
        fresh = {o.message.message_id: o for o in batch if o.message.message_id not in known}
        rows = {key: o for key, o in fresh.items() if isinstance(o, Row)}
        sealed = {key: o for key, o in fresh.items() if isinstance(o, Quarantined)}
        self.rows |= rows
        self.quarantine |= sealed
        reasons = Counter(o.reason for o in sealed.values())
        return Written(len(rows), dict(reasons), len(batch) - len(fresh))
