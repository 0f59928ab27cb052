"""`make faults`: each fault of the catalogue on the real thing, under load, and a report."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import uvloop
from rich.console import Console

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.harness import report, terminal
from tests.faults.harness.outcome import Outcome
from tests.faults.harness.rig import Plan, open_rig

_HEADING = """\
# Faults

Each fault of the catalogue (`tests/faults/catalogue/`) is made under load: {a_second:.0f} messages
a second, {replicas} replicas of the service as processes of their own, a real PostgreSQL, an SQS
server over HTTP, and a network between them that fails on demand. The verdict is the history
checker's (`tests/history/`). Made by `make faults SEED={seed}`.

"""


@click.command()
@click.option(
    "--fault", "numbers", type=click.Choice(list(FAULTS)), multiple=True, help="Only these."
)
@click.option("--a-second", type=float, default=300.0, show_default=True, help="The load.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build"),
    show_default=True,
    help="The folder that the report goes to.",
)
def main(numbers: tuple[int, ...], a_second: float, seed: int, folder: Path) -> None:
    """Make faults, all or those chosen, and tell how the service took them."""
    console = Console()
    plan = Plan(seed=seed, a_second=a_second)
    chosen = [FAULTS[number] for number in numbers or FAULTS]
    obstacles = _obstacles(chosen, plan)
    for number, reason in obstacles.items():
        console.print(f"Skipping fault {number}, {FAULTS[number].name}: {reason}")
    if len(obstacles) == len(chosen):
        sys.exit("This machine can make none of these faults.")
    outcomes = []
    for fault in chosen:
        outcomes.append(_outcome(fault, obstacles.get(fault.number, ""), plan, console))
        console.print(terminal.table(outcomes[-1:]))
    console.print(terminal.table(outcomes))
    console.print("\n".join(report.targets(outcomes)))
    _write(outcomes, plan, folder)
    console.print(f"The report is {folder}/faults.md")
    sys.exit(not all(outcome.kept for outcome in outcomes))


def _obstacles(chosen: Sequence[Fault], plan: Plan) -> Mapping[int, str]:
    """Why this machine cannot make some of the faults, by number."""
    found = ((fault.number, fault.obstacle(plan)) for fault in chosen)
    return {number: obstacle for number, obstacle in found if obstacle}


def _outcome(fault: Fault, obstacle: str, plan: Plan, console: Console) -> Outcome:
    if obstacle:
        return Outcome(fault.name, fault.number, skipped=obstacle)
    return uvloop.run(make(fault, plan, console))


async def make(fault: Fault, plan: Plan, console: Console) -> Outcome:
    """Make one fault under load, and have the run judged."""
    title = f"{fault.number} {fault.name}"
    try:
        with fault.prepare(plan) as prepared:
            async with open_rig(prepared) as rig, terminal.shown(rig, title, console):
                await rig.start()
                await fault.act(rig)
                await rig.at_full_rate()
                result = await rig.finish()
            return Outcome(fault.name, fault.number, result, rig.timeline)
    # BLE001: the report tells of it; those of the other faults are worth having.
    except Exception as error:  # noqa: BLE001
        console.print_exception()
        return Outcome(fault.name, fault.number, failed=type(error).__name__)


def _write(outcomes: Sequence[Outcome], plan: Plan, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    heading = _HEADING.format(a_second=plan.a_second, replicas=plan.replicas, seed=plan.seed)
    picture = "![Throughput, in flight and faults over time](faults.svg)"
    text = f"{heading}{report.table(outcomes)}\n\n{picture}\n"
    (folder / "faults.md").write_text(text)
    report.draw(outcomes, folder / "faults.svg")


if __name__ == "__main__":
    main()
