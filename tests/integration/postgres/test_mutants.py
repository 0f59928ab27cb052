"""The write with one thing broken each: the checker convicts it, and passes the real one."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

import asyncpg
import pytest

from consumer.errors import DatabaseError
from consumer.messages import Outcome
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.queries import Sql
from consumer.postgres.sink import Parameter, PostgresSink, WriteStatement
from tests.databases import Databases
from tests.history.checker import Kind, Verdict, check
from tests.history.evidence import commits, contents_of
from tests.history.marked import Marks, marked_bodies
from tests.history.steps import Left, Sent
from tests.integration.postgres.outcomes import KINDS, USER_LOGINS, WRITE, message
from tests.unit.history.runs import RULES

_WRITERS = 4
_MESSAGES = 200
_DEADLOCK = "40P01"

# So slow that the writers are under way at the same time, however busy the machine is.
_SLOW_LEDGER = """
CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.002);
    RETURN NEW;
END
$$;
CREATE TRIGGER pause BEFORE INSERT ON consumer.ledger FOR EACH ROW EXECUTE FUNCTION pause();
"""
_EVENT = 9  # the position of the one parameter that is no array
_RNG = random.Random(6)  # noqa: S311 - not for secrets
_MARKS = Marks(_RNG)

Scenario = Callable[[PostgresSink, asyncpg.Connection], Awaitable[Sequence[Sent]]]


class WithoutLedger(WriteStatement):
    """A message that the ledger has is written all the same."""

    def __init__(self) -> None:
        super().__init__(USER_LOGINS, KINDS)
        self.text = replaced(self.text, "JOIN fresh USING (slot, message_id)", "")


class InGivenOrder(WriteStatement):
    """Nothing takes a message out that is twice in a batch."""

    def __init__(self) -> None:
        super().__init__(USER_LOGINS, KINDS)
        self.text = replaced(self.text, "DISTINCT ON (slot, message_id)", "")

    def parameters(self, batch: Sequence[Outcome]) -> Sequence[Parameter]:
        each = [super(InGivenOrder, self).parameters([outcome]) for outcome in batch]
        arrays = [joined(parts) for parts in zip(*each, strict=True)]
        return [*arrays[:_EVENT], *each[0][_EVENT : _EVENT + 1], *arrays[_EVENT + 1 :]]


class Unsorted(InGivenOrder):
    """Neither the keys of a batch nor those of the statement are sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.text = replaced(self.text, "ORDER BY slot, message_id", "")


def replaced(text: Sql, old: str, new: str) -> Sql:
    assert old in text
    return Sql(text.replace(old, new))


def joined(arrays: Sequence[Parameter]) -> Parameter:
    """One array of several, which are all literals or all arrays."""
    literals = [each[1:-1] for each in arrays if isinstance(each, str)]
    if literals:
        return f"{{{','.join(filter(None, literals))}}}"
    return list(chain.from_iterable(arrays))


def messages(count: int) -> list[Sent]:
    bodies = marked_bodies(_RNG, _MARKS, count)
    return [Sent(message().message_id, body, message().sent_ms) for body in bodies]


def outcomes(sent: Sequence[Sent]) -> list[Outcome]:
    return [RULES.expect(each.message()) for each in sent]


async def written_again(sink: PostgresSink, _: asyncpg.Connection) -> list[Sent]:
    """A batch is written, and most of it is redelivered."""
    sent = messages(30)
    await sink.write(outcomes(sent))
    await sink.write(outcomes(sent[5:]))
    return sent


async def twice_in_a_batch(sink: PostgresSink, _: asyncpg.Connection) -> list[Sent]:
    """A batch has a message twice."""
    sent = messages(30)
    await sink.write(outcomes(sent + sent[:3]))
    return sent


async def four_writers(sink: PostgresSink, reader: asyncpg.Connection) -> list[Sent]:
    """Four writers have the same messages, half of them in the opposite order."""
    await reader.execute(_SLOW_LEDGER)
    sent = messages(_MESSAGES)
    orders = [outcomes(sent), outcomes(sent[::-1])] * (_WRITERS // 2)
    await asyncio.gather(*(until_written(sink, order) for order in orders))
    return sent


async def until_written(sink: PostgresSink, batch: Sequence[Outcome]) -> None:
    """Write as the pipeline does: again after a deadlock."""
    while True:
        try:
            await sink.write(batch)
        except DatabaseError as error:
            if error.sqlstate != _DEADLOCK:
                raise
        else:
            return


async def judged(dsn: str, scenario: Scenario, statement: WriteStatement) -> Verdict:
    async with connected(ConnectionSettings(dsn)) as reader:
        name = await reader.fetchval("SELECT current_database()")
        await reader.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '10ms'")
        settings = ConnectionSettings(dsn, max_connections=_WRITERS)
        async with PostgresSink(settings, statement) as sink:
            sent = await scenario(sink, reader)
        return await verdict(reader, sent)


async def verdict(reader: asyncpg.Connection, sent: Sequence[Sent]) -> Verdict:
    return check(
        rules=RULES,
        sent=sent,
        history=await commits(reader),
        contents=await contents_of(reader, USER_LOGINS, KINDS),
        left=Left(),
    )


@pytest.mark.parametrize(
    ("scenario", "mutant", "kind"),
    [
        (written_again, WithoutLedger(), Kind.DUPLICATED),
        (twice_in_a_batch, InGivenOrder(), Kind.DUPLICATED),
        (four_writers, Unsorted(), Kind.DEADLOCKED),
    ],
    ids=["ledger off", "join without DISTINCT", "unsorted keys"],
)
async def test_a_mutant_is_convicted_where_the_service_passes(
    databases: Databases, scenario: Scenario, mutant: WriteStatement, kind: Kind
) -> None:
    async with databases.migrated() as dsn:
        passed = await judged(dsn, scenario, WRITE)
    assert passed.kept, passed
    async with databases.migrated() as dsn:
        convicted = await judged(dsn, scenario, mutant)
    assert convicted.kinds == {kind}
