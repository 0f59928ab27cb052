"""`python -m benchmarks own`, `peers` or `report`; what it measures it keeps as JSON."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import own, peer_runs, report
from benchmarks.bench import open_bench
from benchmarks.results import save

_TIMES = 5
_QUICK_SHARE = 20
_DOCS = Path(__file__).parents[1] / "docs"


def _say(what: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr)


@click.group()
@click.option("--docs", type=click.Path(file_okay=False, path_type=Path), default=_DOCS)
@click.pass_context
def main(ctx: click.Context, docs: Path) -> None:
    """Measure the consumer, and write benchmarks.md with its pictures and raw results."""
    ctx.obj = report.Paths(docs)


@main.command("own")
@click.option("--quick", is_flag=True, help="Small numbers, to see that it works.")
@click.pass_obj
def own_command(paths: report.Paths, *, quick: bool) -> None:
    """Measure the consumer alone."""
    with open_bench() as bench:
        save(own.measure(bench, own.QUICK if quick else own.FULL, _today(), _say), paths.own)
    report.write(paths)


@main.command("peers")
@click.option("--quick", is_flag=True, help="One run of each, of few messages.")
@click.pass_obj
def peers_command(paths: report.Paths, *, quick: bool) -> None:
    """Measure the consumer beside others that do the same job."""
    with open_bench() as bench:
        times, share = (1, _QUICK_SHARE) if quick else (_TIMES, 1)
        measured = peer_runs.measure(bench, _today(), _say, times=times, share=share)
        save(measured, paths.peers)
    report.write(paths)


@main.command("report")
@click.pass_obj
def report_command(paths: report.Paths) -> None:
    """Write the report anew from the results that are there."""
    report.write(paths)


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


signal.signal(signal.SIGTERM, _end)  # as an exception it ends what was started, too
main(prog_name="benchmarks")
