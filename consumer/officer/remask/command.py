"""`consumer remask`."""

import sys
import time
from collections.abc import Callable

import asyncpg
import click

from consumer.commands.context import CommandContext
from consumer.commands.status import StatusLine, bar
from consumer.events.model import masks_of
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.officer.audit.store import Action, AuditEntry, record
from consumer.officer.remask.store import (
    Progress,
    RemaskPlan,
    RemaskResult,
    prepare,
    remask as rewrite,
)
from consumer.postgres.key_registry import register_fingerprints
from consumer.postgres.schema import columns_in
from consumer.runtime import run_async

_Show = Callable[[Progress], None]


@click.command()
@click.option(
    "--pages-a-batch",
    type=click.IntRange(1, 100_000),
    default=128,
    show_default=True,
    help="Pages of the table in one transaction; a page of 8 KiB has about 40 rows.",
)
@click.option(
    "--prepare",
    "next_kid",
    metavar="KID",
    help="Before KID is promoted: map old tokens to its tokens for the views; rewrite no row.",
)
@click.pass_obj
def remask(context: CommandContext, pages_a_batch: int, next_kid: str | None) -> None:
    """Rewrite the tokens and quarantined bodies of old keys under the primary key (audited).

    Run it when every replica has the new primary key. It may run beside them. After a kill, another
    run continues. At the end it counts what is left of old keys: the exit code is 0 only if nothing
    is left, and then the old keys may be retired.

    The table grows by the rewritten rows until it is vacuumed, as with any UPDATE.

    The examples are a rotation. After each change of the key ring, give it to all replicas and send
    each a SIGHUP.

    \b
    Examples:
      consumer keys add k2
      consumer remask --prepare k2  # the views of repeated values do not split meanwhile
      consumer keys promote k2
      consumer remask
      consumer keys retire k1
    """
    status = StatusLine(sys.stderr, time.monotonic)
    show = _progress(status, time.monotonic)
    try:
        done = run_async(_remask(context, pages_a_batch, next_kid, show))
    finally:
        status.clear()
    for refusal in sorted(done.refusals):
        click.echo(f"no new token: {refusal}", err=True)
    if next_kid is not None:
        click.echo(f"the views of repeated values know the tokens of {next_kid}: promote it now")
        return
    _report(done)


def _report(done: RemaskResult) -> None:
    click.echo(f"{done.rows:,} rows and {done.bodies:,} quarantined bodies rewritten")
    for column, rows in {**done.left, "quarantined bodies": done.bodies_left}.items():
        if rows:
            click.echo(f"left of other keys: {column}: {rows:,}", err=True)
    if not done.is_complete:
        raise click.ClickException(
            "tokens of other keys are left: do not retire these keys. If replicas wrote them"
            " meanwhile, give the new key ring to all replicas and run this again"
        )
    click.echo("no token of another key is left")


async def _remask(
    context: CommandContext, pages_a_batch: int, next_kid: str | None, show: _Show
) -> RemaskResult:
    model, ring = context.model, await context.key_ring()
    if next_kid is not None:
        ring = ring.promoted(next_kid)
    async with context.connected() as connection:
        # No replica could open the tokens of another key under one of these names.
        await register_fingerprints(connection, ring.fingerprints())
        present = await columns_in(connection, model.table)
        plan = RemaskPlan(
            table=model.table,
            primary=ring.primary,
            tokens={
                name: mask.renew for name, mask in masks_of(model, ring).items() if name in present
            },
            body=BodySeal(ring).renew,
        )
        if next_kid is not None:
            return await prepare(connection, plan, pages_a_batch=pages_a_batch, show=show)
        await _audit(connection, ring, "begun")
        done = await rewrite(connection, plan, pages_a_batch=pages_a_batch, show=show)
        outcome = "nothing of other keys left" if done.is_complete else "tokens of other keys left"
        await _audit(connection, ring, outcome)
    return done


async def _audit(connection: asyncpg.Connection, ring: KeyRing, outcome: str) -> None:
    reason = f"rotation to {ring.primary}"
    await record(connection, [AuditEntry(Action.REMASK, reason, outcome, kid=ring.primary)])


def _progress(status: StatusLine, clock: Callable[[], float]) -> _Show:
    """Show a bar, the rate of rows, and the time left of the stage."""
    began: dict[str, float] = {}

    def show(progress: Progress) -> None:
        seconds = clock() - began.setdefault(progress.stage, clock())
        left = seconds / progress.pages * (progress.of_pages - progress.pages)
        rate = progress.rows / seconds if seconds else 0
        rows = f", {progress.rows:,} rows, {rate:,.0f} a second" if progress.rows else ""
        pages = bar(progress.pages, progress.of_pages)
        status.show(f"{progress.stage} {pages} pages{rows}, {left:,.0f} s left")

    return show
