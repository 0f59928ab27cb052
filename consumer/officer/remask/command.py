"""`consumer remask`."""

import sys
import time
from collections.abc import Callable

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.commands.status import StatusLine, bar
from consumer.events.model import load_model, masks_of, table_of
from consumer.keys.sources import load_key_ring
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.officer.audit.store import Action, AuditEntry, record
from consumer.officer.remask.store import (
    Progress,
    Remasked,
    Renewal,
    remask as rewrite,
    remask_ahead,
)
from consumer.postgres.connection import connected
from consumer.postgres.key_registry import register_fingerprints
from consumer.postgres.schema import columns_in
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of, key_source_of
from consumer.settings.sections import Settings


@click.command()
@click.option(
    "--pages-a-batch",
    type=click.IntRange(1, 100_000),
    default=128,
    show_default=True,
    help="Pages of the table in a transaction; a page of 8 KiB has some 40 rows.",
)
@click.option(
    "--ahead",
    metavar="KID",
    help="Before KID is promoted: let the views join both keys' tokens; rewrite nothing yet.",
)
@click.pass_obj
def remask(context: CommandContext, pages_a_batch: int, ahead: str | None) -> None:
    """Rewrite the tokens of old keys under the primary key, quarantined bodies as well.

    For when a new key has become primary, on all replicas. May run beside them, may be killed and
    run again: it goes on where it was. At the end it counts what is left of old keys: the exit
    code is 0 only if that is nothing, and then the old keys may be retired.

    The table grows by the rows rewritten until it is vacuumed, as by any UPDATE.

    The examples are a rotation. After each change of the ring all replicas are to read it again:
    give it to them, and send each a SIGHUP.

    \b
    Examples:
      consumer keys add k2
      consumer remask --ahead k2  # views of repeated values do not split in between
      consumer keys promote k2
      consumer remask
      consumer keys retire k1
    """
    settings = context.settings
    status = StatusLine(sys.stderr, time.monotonic)
    try:
        done = run_async(_remask(settings, pages_a_batch, ahead, _progress(status, time.monotonic)))
    finally:
        status.clear()
    for refusal in sorted(done.refusals):
        click.echo(f"no new token: {refusal}", err=True)
    if ahead is not None:
        click.echo(f"the views of repeated values know the tokens of {ahead}: it may be promoted")
        return
    _report(done)


def _report(done: Remasked) -> None:
    click.echo(f"{done.rows:,} rows and {done.bodies:,} quarantined bodies rewritten")
    for column, rows in {**done.left, "quarantined bodies": done.bodies_left}.items():
        if rows:
            click.echo(f"left of other keys: {column}: {rows:,}", err=True)
    if not done.is_complete:
        raise click.ClickException(
            "tokens of other keys are left: keep these keys. If replicas wrote them meanwhile, give"
            " all the new key ring and run this again"
        )
    click.echo("no token of another key is left")


async def _remask(
    settings: Settings, pages_a_batch: int, ahead: str | None, show: Callable[[Progress], None]
) -> Remasked:
    model = load_model(settings.event.model)
    ring = await load_key_ring(key_source_of(settings))
    if ahead is not None:
        ring = ring.promoted(ahead)
    async with connected(connection_settings_of(settings)) as connection:
        # Tokens of another key under one of these names would be lost to the replicas' ring.
        await register_fingerprints(connection, ring.fingerprints())
        present = await columns_in(connection, table_of(model).name)
        renewal = Renewal(
            table=model.table,
            primary=ring.primary,
            tokens={
                name: mask.renew for name, mask in masks_of(model, ring).items() if name in present
            },
            body=BodySeal(ring).renew,
        )
        if ahead is not None:
            return await remask_ahead(connection, renewal, pages_a_batch=pages_a_batch, show=show)
        await _on_record(connection, ring, "begun")
        done = await rewrite(connection, renewal, pages_a_batch=pages_a_batch, show=show)
        outcome = "nothing of other keys left" if done.is_complete else "tokens of other keys left"
        await _on_record(connection, ring, outcome)
    return done


async def _on_record(connection: asyncpg.Connection, ring: KeyRing, outcome: str) -> None:
    reason = f"rotation to {ring.primary}"
    await record(connection, [AuditEntry(Action.REMASK, reason, outcome, kid=ring.primary)])


def _progress(status: StatusLine, clock: Callable[[], float]) -> Callable[[Progress], None]:
    """Show a bar with the rate of rows, and the time that the stage will still take."""
    began: dict[str, float] = {}

    def show(progress: Progress) -> None:
        seconds = clock() - began.setdefault(progress.stage, clock())
        left = seconds / progress.pages * (progress.of_pages - progress.pages)
        rate = progress.rows / seconds if seconds else 0
        rows = f", {progress.rows:,} rows, {rate:,.0f} a second" if progress.rows else ""
        pages = bar(progress.pages, progress.of_pages)
        status.show(f"{progress.stage} {pages} pages{rows}, {left:,.0f} s left")

    return show
