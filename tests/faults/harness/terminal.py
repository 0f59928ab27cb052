"""What is shown in the terminal: what goes on while it goes on, and how it ended."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.faults.harness.outcome import Outcome
from tests.faults.harness.rig import Rig

_REFRESH_SECONDS = 0.25
_WIDTH = 60
_BARS = " ▁▂▃▄▅▆▇█"


@asynccontextmanager
async def shown(rig: Rig, title: str, console: Console) -> AsyncIterator[None]:
    """Show a rig for as long as the context lasts; only on a terminal."""
    if not console.is_terminal:
        yield
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        async with asyncio.TaskGroup() as tasks:
            showing = tasks.create_task(_show(rig, title, live))
            try:
                yield
            finally:
                showing.cancel()


async def _show(rig: Rig, title: str, live: Live) -> None:
    while True:
        live.update(_picture(rig, title), refresh=True)
        await asyncio.sleep(_REFRESH_SECONDS)


def _picture(rig: Rig, title: str) -> Panel:
    timeline = rig.timeline
    if not timeline.seen:
        return Panel("starting", title=title)
    last = timeline.seen[-1]
    _, rates = timeline.throughput()
    in_flight = [each.in_flight for each in timeline.seen[-_WIDTH:]]
    going_on = [span.name for span in timeline.spans if span.healed is None]
    running = sum(replica.running for replica in rig.replicas)
    lines = (
        Text(f"a second    {_bars(rates[-_WIDTH:])} {rates[-1] if rates else 0:,.0f}"),
        Text(f"in flight   {_bars(in_flight)} {last.in_flight:,}"),
        Text(f"messages    {last.sent:,} sent, {last.deleted:,} deleted, {last.visible:,} wait"),
        Text(f"replicas    {running} run"),
        Text(f"faults      {len(timeline.spans)} so far; now: {', '.join(going_on) or 'none'}"),
    )
    return Panel(Group(*lines), title=f"{title}, {last.at:.0f} s")


def _bars(values: Sequence[float]) -> str:
    highest = max((*values, 1.0))
    steps = len(_BARS) - 1
    return "".join(_BARS[round(max(0, v) / highest * steps)] for v in values).rjust(_WIDTH)


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each run."""
    shown_table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "fault", "verdict", "back after, s", "requests/s while down", "messages"):
        shown_table.add_column(name, justify="left" if name in ("fault", "verdict") else "right")
    for outcome in outcomes:
        back, tries = outcome.back_seconds, outcome.tries
        shown_table.add_row(
            str(outcome.number or ""),
            Text(outcome.name),
            Text(outcome.verdict),
            f"{max(back):.1f}" if back else "",
            f"{max(tries):.1f}" if tries else "",
            f"{outcome.result.verdict.sent:,}" if outcome.result else "",
        )
    return shown_table
