"""`consumer check`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from inspect import getfile

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.errors import (
    ConsumerError,
    DatabaseError,
    DatabaseRefusedError,
    KeyRingError,
    QueueError,
    QueueRefusedError,
    SettingsError,
)
from consumer.keys.sources import warnings_of
from consumer.postgres.inspect import inspect
from consumer.postgres.key_registry import compare_fingerprints
from consumer.runtime import run_async
from consumer.settings.endpoints import queue_address_of
from consumer.sqs.client import open_transport
from consumer.sqs.queue import queue_attributes


@dataclass(frozen=True, slots=True)
class _CheckResult:
    """What was checked, whether it passed, and what to do."""

    ok: bool
    what: str
    advice: str = ""

    def __str__(self) -> str:
        mark = "ok   " if self.ok else "FAIL "
        return mark + self.what + (f"; {self.advice}" if self.advice else "")


@click.command()
@click.pass_obj
def check(context: CommandContext) -> None:
    """Check everything that `run` needs, and change nothing; the exit code is 1 on any failure.

    Reads the settings, the model and the key ring, calls the queue and the database, and checks the
    table's columns and types and the rights of this role. Each check prints a line with what to do.

    \b
    Examples:
      consumer check
      consumer --config staging.toml check
    """
    _ = context.settings
    click.echo(_CheckResult(ok=True, what="settings"))
    if not run_async(_check_all(context)):
        raise click.exceptions.Exit(1)


async def _check_all(context: CommandContext) -> bool:
    """Print a line for each check; return whether all passed."""
    all_ok = True
    for check_one in (_check_model, _check_key_ring, _check_queue, _check_database):
        async for result in check_one(context):
            click.echo(result)
            all_ok = all_ok and result.ok
    return all_ok


async def _check_model(context: CommandContext) -> AsyncIterator[_CheckResult]:
    try:
        file = getfile(context.model)
    except SettingsError as error:
        yield _CheckResult(ok=False, what=str(error))
        return
    yield _CheckResult(ok=True, what=f"model: {context.settings.event.model}, from {file}")


async def _check_key_ring(context: CommandContext) -> AsyncIterator[_CheckResult]:
    try:
        ring = await context.key_ring()
    except ConsumerError as error:
        advice = "`consumer keys check` lists all faults, `consumer keys new` makes a key ring"
        yield _CheckResult(ok=False, what=str(error), advice=advice)
        return
    keys = f"key ring: {', '.join(ring.kids)}; primary {ring.primary}"
    yield _CheckResult(ok=True, what=keys)
    for warning in warnings_of(context.key_source):
        yield _CheckResult(ok=True, what=warning)


async def _check_queue(context: CommandContext) -> AsyncIterator[_CheckResult]:
    settings = context.settings
    try:
        address = queue_address_of(settings, settings.sqs.wait_seconds)
        seconds = settings.sqs.call_timeout_seconds
        async with open_transport(address) as transport:
            attributes = await queue_attributes(
                transport, address.queue_url, timeout_seconds=seconds
            )
    except ConsumerError as error:
        yield _CheckResult(ok=False, what=f"queue: {error}", advice=_advice(error))
        return
    yield _CheckResult(
        ok=True,
        what=f"queue: visibility timeout {attributes.visibility_seconds} s,"
        f" {attributes.visible} messages waiting, {attributes.in_flight} in flight",
    )
    for warning in attributes.warnings():
        yield _CheckResult(ok=True, what="queue", advice=warning)


async def _check_database(context: CommandContext) -> AsyncIterator[_CheckResult]:
    try:
        table = context.table
    except SettingsError:  # said with the model
        return
    try:
        async with context.connected() as connection:
            inspection = await inspect(connection, table)
            for finding in inspection.findings:
                yield _CheckResult(finding.ok, finding.what, finding.advice)
            if inspection.is_migrated:
                yield await _check_key_registry(connection, context)
    except ConsumerError as error:
        yield _CheckResult(ok=False, what=str(error), advice=_advice(error))


def _advice(error: ConsumerError) -> str:
    """What to do where the error's own text does not say."""
    match error:
        case QueueRefusedError() | DatabaseRefusedError():
            return ""
        case QueueError() | DatabaseError():
            return "see that it is up and can be reached from here"
        case _:
            return ""


async def _check_key_registry(
    connection: asyncpg.Connection, context: CommandContext
) -> _CheckResult:
    """Whether the database has the fingerprints of the ring's keys under the same names."""
    try:
        ring = await context.key_ring()
    except ConsumerError:
        return _CheckResult(ok=False, what="key registry: not compared without a key ring")
    try:
        await compare_fingerprints(connection, ring.fingerprints())
    except KeyRingError as error:
        return _CheckResult(ok=False, what=str(error))
    return _CheckResult(ok=True, what="key registry: the database knows these keys")
