"""`make soak`: an hour at half capacity, and whether a replica's memory stays flat."""

import asyncio
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from rich.console import Console

from consumer.postgres.connection import ConnectionSettings, connected
from consumer.settings.sections import FlowSettings
from tests.faults.harness import report, terminal
from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.outcome import Outcome
from tests.faults.harness.proxy import check_packets_can_be_dropped
from tests.faults.harness.queue_server import Feed
from tests.faults.harness.rig import DATABASE, Plan, Rig, open_rig
from tests.faults.harness.timeline import Seen
from tests.waiting import eventually

_BURST_MESSAGES = 40_000
_BURST_A_SECOND = 20_000
_FULL_SHARE = 0.9  # open polls keep some room
_WARM_UP_SHARE = 0.1
_MAX_SLOPE = 1.0  # MB an hour
_MB = 1_000_000
_COUNTS = """
    SELECT (SELECT count(*) FROM consumer.ledger) AS ledger,
        (SELECT count(*) FROM user_logins) AS rows,
        (SELECT count(*) FROM consumer.quarantine) AS quarantined
"""

_REPORT = """\
# Soak

{replicas} replicas of the service at half of what they can do here, for {seconds:,.0f} s; with a
backlog they did {capacity:,.0f} messages a second. Made by `make soak SECONDS={seconds:.0f}`.

- {sent:,} messages sent: {rows:,} rows, {quarantined:,} in quarantine, {lost:,} lost, {left:,}
  left on the queue.
- Resident memory grew by {slopes} (least squares after the first tenth; target: under
  {target:.0f} MB/h).
- Beforehand the database was away until together they held {full:.0%} of what they may, for memory
  that grows towards its bound is no leak. That left {slack} more resident, which a leak
  would fill before it shows.

| minute | {names} |
|--:|{rules}|
{minutes}

![Throughput and in flight over time](soak.svg)
"""


@dataclass(frozen=True)
class Counts:
    """What the database holds at the end."""

    ledger: int
    rows: int
    quarantined: int


async def run(plan: Plan, seconds: float, console: Console) -> tuple[Rig, float, float, Counts]:
    """Return the rig as it was, the capacity, when the soak began, and what was written."""
    async with open_rig(plan) as rig, terminal.shown(rig, "soak", console):
        await rig.start_replicas()
        capacity = await _capacity(rig)
        await _fill(rig)
        rig.timeline.rate = capacity / 2
        began = rig.now()
        await rig.queue.feed(_feed(plan, capacity / 2, plan.messages))
        await asyncio.sleep(seconds)
        await rig.wind_down()
        async with connected(ConnectionSettings(rig.dsn)) as connection:
            (found,) = await connection.fetch(_COUNTS)
            counts = Counts(found["ledger"], found["rows"], found["quarantined"])
        return rig, capacity, began, counts


async def _capacity(rig: Rig) -> float:
    """Messages a second, while a backlog lasts."""
    plan = rig.plan
    await rig.queue.feed(_feed(plan, _BURST_A_SECOND, _BURST_MESSAGES))
    await rig.deleted(_BURST_MESSAGES)
    during = [
        seen
        for seen in rig.timeline.seen
        if _BURST_MESSAGES * 0.1 <= seen.deleted <= _BURST_MESSAGES * 0.9
    ]
    first, last = during[0], during[-1]
    return (last.deleted - first.deleted) / (last.at - first.at)


async def _fill(rig: Rig) -> None:
    """Let the replicas hold about as much as they may, once."""
    seen = rig.timeline.seen
    most = _FULL_SHARE * rig.plan.replicas * FlowSettings().max_in_flight_messages
    with rig.fault("PostgreSQL blackholed until the replicas are full", down=DATABASE):
        rig.network_to_database.go_silent()
        await rig.queue.feed(_feed(rig.plan, _BURST_A_SECOND, _BURST_MESSAGES))
        await eventually(lambda: seen[-1].in_flight > most)
        rig.network_to_database.heal()
    await rig.deleted(2 * _BURST_MESSAGES)


def _feed(plan: Plan, a_second: float, count: int) -> Feed:
    return Feed(plan.seed, a_second, count, plan.invalid_share, remembered=False)


def slope(seen: Sequence[Seen], name: str) -> float:
    """How a replica's resident memory grows, in MB an hour."""
    hours = [each.at / 3600 for each in seen]
    sizes = [each.resident_bytes[name] / _MB for each in seen]
    return statistics.linear_regression(hours, sizes).slope


def _report(
    rig: Rig, capacity: float, soaked: Sequence[Seen], counts: Counts, seconds: float
) -> tuple[str, bool]:
    names = sorted(soaked[0].resident_bytes)
    warm = soaked[int(len(soaked) * _WARM_UP_SHARE) :]
    slopes = {name: slope(warm, name) for name in names}
    before = [seen for seen in rig.timeline.seen if seen.at <= rig.timeline.spans[0].began][-1]
    slacks = [(soaked[0].resident_bytes[n] - before.resident_bytes[n]) / _MB for n in names]
    last = rig.timeline.seen[-1]
    lost = last.sent - counts.rows - counts.quarantined
    left = last.visible + last.in_flight
    text = _REPORT.format(
        replicas=len(names),
        capacity=capacity,
        seconds=seconds,
        sent=last.sent,
        rows=counts.rows,
        quarantined=counts.quarantined,
        lost=lost,
        left=left,
        slopes=", ".join(f"{value:+.2f} MB/h" for value in slopes.values()),
        target=_MAX_SLOPE,
        full=_FULL_SHARE,
        slack=", ".join(f"{value:.1f} MB" for value in slacks),
        names=" | ".join(f"{name}, MB" for name in names),
        rules="|".join("--:" for _ in names),
        minutes="\n".join(_minutes(soaked, names)),
    )
    kept = lost == left == 0 and counts.ledger == last.sent and not rig.problems
    return text, kept and max(slopes.values()) < _MAX_SLOPE


def _minutes(soaked: Sequence[Seen], names: Sequence[str]) -> list[str]:
    began, minute, lines = soaked[0].at, 0, []
    for seen in soaked:
        if seen.at - began >= minute * 60:
            sizes = (f"{seen.resident_bytes[name] / _MB:.1f}" for name in names)
            lines.append(f"| {minute} | {' | '.join(sizes)} |")
            minute += 1
    return lines


@click.command()
@click.option("--seconds", type=click.IntRange(min=10), default=3600, show_default=True)
@click.option("--replicas", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build"),
    show_default=True,
    help="The folder that the report goes to.",
)
def main(*, seconds: int, replicas: int, seed: int, folder: Path) -> None:
    """Run at half capacity for long, and tell how the memory grew."""
    try:
        check_packets_can_be_dropped()
    except CannotBeMadeError as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    plan = Plan(seed=seed, replicas=replicas, messages=100_000_000, look_seconds=1.0)
    rig, capacity, began, counts = uvloop.run(run(plan, seconds, console))
    soaked = [seen for seen in rig.timeline.seen if began <= seen.at <= began + seconds]
    text, kept = _report(rig, capacity, soaked, counts, seconds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.md").write_text(text)
    report.draw([Outcome("soak", timeline=rig.timeline)], folder / "soak.svg")
    console.print(text.split("| minute")[0], *rig.problems, sep="\n")
    console.print(f"The report is {folder}/soak.md")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
