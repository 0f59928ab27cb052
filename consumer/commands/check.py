"""`consumer check`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click

from consumer.endpoints import key_source_of, queue_address_of, server_of
from consumer.errors import (
    ConsumerError,
    DatabaseError,
    DatabaseRefusedError,
    KeyRingError,
    QueueError,
    QueueRefusedError,
)
from consumer.events.model import load_model, table_of
from consumer.keys.sources import load_key_ring, warnings_of
from consumer.postgres.connection import connected
from consumer.postgres.inspect import inspect
from consumer.postgres.key_registry import compare_fingerprints
from consumer.runtime import run_async
from consumer.settings import Settings, load_settings
from consumer.sqs.client import open_transport
from consumer.sqs.facts import queue_facts


@dataclass(frozen=True, slots=True)
class _Line:
    """What was looked at, whether it is as it must be, and what to do."""

    ok: bool
    what: str
    advice: str = ""

    def __str__(self) -> str:
        """As it is printed."""
        mark = "ok   " if self.ok else "FAIL "
        return mark + self.what + (f"; {self.advice}" if self.advice else "")


@click.command()
@click.pass_obj
def check(config: Path | None) -> None:
    """Look at all that `run` needs, and change nothing; the exit code is 1 on any failure.

    Reads the settings and the key ring, reaches the queue and the database, and checks the table's
    columns and types and this role's rights. A line each, with what to do.

    \b
    Examples:
      consumer check
      consumer --config staging.toml check
    """  # noqa: D301 click takes the escape itself for "leave these lines as they are"
    settings = load_settings(config)
    click.echo(_Line(ok=True, what="settings"))
    if not run_async(_look(settings)):
        raise click.exceptions.Exit(1)


async def _look(settings: Settings) -> bool:
    """Print a line for each thing; return whether all are as they must be."""
    all_ok = True
    for look in (_key_ring, _queue, _database):
        async for line in look(settings):
            click.echo(line)
            all_ok = all_ok and line.ok
    return all_ok


async def _key_ring(settings: Settings) -> AsyncIterator[_Line]:
    try:
        source = key_source_of(settings)
        ring = await load_key_ring(source)
    except ConsumerError as error:
        advice = "`consumer keys check` tells more, `consumer keys new` makes one"
        yield _Line(ok=False, what=str(error), advice=advice)
        return
    yield _Line(ok=True, what=f"key ring: {', '.join(ring.kids)}; primary {ring.primary}")
    for warning in warnings_of(source):
        yield _Line(ok=True, what=warning)


async def _queue(settings: Settings) -> AsyncIterator[_Line]:
    try:
        address = queue_address_of(settings, settings.sqs.wait_seconds)
        seconds = settings.sqs.call_timeout_seconds
        async with open_transport(address) as transport:
            facts = await queue_facts(transport, address.queue_url, timeout_seconds=seconds)
    except ConsumerError as error:
        yield _Line(ok=False, what=f"queue: {error}", advice=_advice(error))
        return
    yield _Line(
        ok=True,
        what=f"queue: visibility timeout {facts.visibility_seconds} s,"
        f" {facts.visible} messages waiting, {facts.in_flight} in flight",
    )
    for warning in facts.warnings():
        yield _Line(ok=True, what="queue", advice=warning)


async def _database(settings: Settings) -> AsyncIterator[_Line]:
    try:
        table = table_of(load_model(settings.event.model))
        async with connected(server_of(settings)) as connection:
            inspection = await inspect(connection, table)
            for finding in inspection.findings:
                yield _Line(finding.ok, finding.what, finding.advice)
            if inspection.is_migrated:
                yield await _guarded(connection, settings)
    except ConsumerError as error:
        yield _Line(ok=False, what=str(error), advice=_advice(error))


def _advice(error: ConsumerError) -> str:
    """What to do where the error's own text does not say."""
    match error:
        case QueueRefusedError() | DatabaseRefusedError():
            return ""
        case QueueError() | DatabaseError():
            return "see that it is up and can be reached from here"
        case _:
            return ""


async def _guarded(connection: asyncpg.Connection, settings: Settings) -> _Line:
    """Whether the database knows the ring's keys by the same names; a ring of no use is told."""
    try:
        ring = await load_key_ring(key_source_of(settings))
    except ConsumerError:
        return _Line(ok=False, what="masking keys", advice="not compared: there is no key ring")
    try:
        await compare_fingerprints(connection, ring.fingerprints())
    except KeyRingError as error:
        return _Line(ok=False, what=str(error))
    return _Line(ok=True, what="masking keys: as this database knows them")
