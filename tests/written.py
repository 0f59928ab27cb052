"""The promises I1 to I3, checked: what is in a database, against what was sent."""

from collections import Counter
from collections.abc import Sequence

from consumer.events.model import table_of
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.messages import Message, Quarantined, Row
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.inspect import inspect_table

_TABLE = table_of(UserLogin)


async def assert_written(dsn: str, ring_json: str, sent: Sequence[Message]) -> None:
    """Each message is its row, or its quarantine row, exactly once; nothing else is there."""
    ring = KeyRing.parse(ring_json)
    async with connected(ConnectionSettings(dsn)) as connection:
        kinds = await inspect_table(connection, _TABLE)
        names = ", ".join(column.name for column in _TABLE.columns if column.name in kinds)
        rows = await connection.fetch(f"SELECT {names} FROM user_logins")  # noqa: S608 the model's names
        quarantine = await connection.fetch("SELECT * FROM consumer.quarantine")
        ledger = await connection.fetchval("SELECT count(*) FROM consumer.ledger")
    outcomes = [Transform(UserLogin, kinds, ring)(message) for message in sent]
    assert Counter(tuple(row) for row in rows) == Counter(
        outcome.values for outcome in outcomes if isinstance(outcome, Row)
    )
    seal = BodySeal(ring)
    bodies = [seal.unseal(q["kid"], str(q["message_id"]), q["sealed_body"]) for q in quarantine]
    assert Counter(
        (str(q["message_id"]), q["reason"], q["field_name"], body)
        for q, body in zip(quarantine, bodies, strict=True)
    ) == Counter(
        (outcome.message.message_id, outcome.reason, outcome.field_name, outcome.message.body)
        for outcome in outcomes
        if isinstance(outcome, Quarantined)
    )
    assert ledger == len(sent)


async def everything_in(dsn: str) -> str:
    """The whole database but for the sealed bodies, as text."""
    async with connected(ConnectionSettings(dsn)) as connection:
        tables = await connection.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace IN ('public'::regnamespace, 'consumer'::regnamespace)"
        )
        rows = [
            record["row"]
            for table in tables
            for record in await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t")  # noqa: S608 PostgreSQL's quoted names
        ]
    return "\n".join(rows)
