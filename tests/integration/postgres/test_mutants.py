"""The write with one thing broken each: the checker convicts it, and passes the real one."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from unittest.mock import patch

import asyncpg
import pytest

from consumer.errors import DatabaseError
from consumer.events.table import ColumnKinds, Table
from consumer.messages import Outcome
from consumer.postgres import sink as sinks
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.sink import PostgresSink
from tests.databases import Databases
from tests.history.checker import Kind, Verdict, check
from tests.history.evidence import commits, landed
from tests.history.marked import Marks, marked_bodies
from tests.history.steps import Left, Sent
from tests.integration.postgres.outcomes import KINDS, USER_LOGINS, message
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

_real_parameters = sinks.parameters
_real_statement = sinks.write_statement

Scenario = Callable[[PostgresSink, asyncpg.Connection], Awaitable[Sequence[Sent]]]
Replacements = Sequence[tuple[str, str]]
_WITHOUT_LEDGER = (("JOIN fresh USING (slot, message_id)", ""),)
_WITHOUT_DISTINCT = (("DISTINCT ON (slot, message_id)", ""),)
_UNSORTED = (*_WITHOUT_DISTINCT, ("ORDER BY slot, message_id", ""))


def in_given_order(batch: Sequence[Outcome], event: str, columns: int) -> list[object]:
    """The parameters without the sorting and the dict."""
    each = [_real_parameters([outcome], event, columns) for outcome in batch]
    arrays = [_joined(parts) for parts in zip(*each, strict=True)]
    return [event if position == _EVENT else array for position, array in enumerate(arrays)]


def _joined(arrays: Sequence[Sequence[object] | str]) -> object:
    """One array of several, which are all literals or all arrays."""
    literals = [each[1:-1] for each in arrays if isinstance(each, str)]
    if literals:
        return f"{{{','.join(filter(None, literals))}}}"
    return list(chain.from_iterable(arrays))


@contextmanager
def mutant(replacements: Replacements, parameters: Callable[..., object]) -> Iterator[None]:
    def statement(table: Table, kinds: ColumnKinds) -> str:
        text = _real_statement(table, kinds)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        return text

    with (
        patch.object(sinks, "write_statement", statement),
        patch.object(sinks, "parameters", parameters),
    ):
        yield


def messages(count: int) -> list[Sent]:
    bodies = marked_bodies(_RNG, _MARKS, count)
    return [Sent(message().message_id, body, message().sent_ms) for body in bodies]


def outcomes(sent: Sequence[Sent]) -> list[Outcome]:
    return [RULES.expect(each.message()) for each in sent]


async def written_again(sink: PostgresSink, _: asyncpg.Connection) -> list[Sent]:
    """A batch is written, and comes again."""
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


async def judged(dsn: str, scenario: Scenario) -> Verdict:
    async with connected(ConnectionSettings(dsn)) as reader:
        name = await reader.fetchval("SELECT current_database()")
        await reader.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '10ms'")
        server = ConnectionSettings(dsn, max_connections=_WRITERS)
        async with PostgresSink(server, USER_LOGINS, KINDS) as sink:
            sent = await scenario(sink, reader)
        return await verdict(reader, sent)


async def verdict(reader: asyncpg.Connection, sent: Sequence[Sent]) -> Verdict:
    return check(
        rules=RULES,
        sent=sent,
        history=await commits(reader),
        landed=await landed(reader, USER_LOGINS, KINDS),
        left=Left(),
    )


@pytest.mark.parametrize(
    ("scenario", "replacements", "parameters", "kind"),
    [
        (written_again, _WITHOUT_LEDGER, _real_parameters, Kind.DUPLICATED),
        (twice_in_a_batch, _WITHOUT_DISTINCT, in_given_order, Kind.DUPLICATED),
        (four_writers, _UNSORTED, in_given_order, Kind.DEADLOCKED),
    ],
    ids=["ledger off", "join without DISTINCT", "unsorted keys"],
)
async def test_a_mutant_is_convicted_where_the_service_passes(
    databases: Databases,
    scenario: Scenario,
    replacements: Replacements,
    parameters: Callable[..., object],
    kind: Kind,
) -> None:
    async with databases.migrated() as dsn:
        passed = await judged(dsn, scenario)
    assert passed.kept, passed
    async with databases.migrated() as dsn:
        with mutant(replacements, parameters):
            convicted = await judged(dsn, scenario)
    assert convicted.kinds == {kind}
