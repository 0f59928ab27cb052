"""`python -m tests.simulation`: runs many seeds; a failing one says how to run it again."""

import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence

import click

from tests.simulation.scenario import draw
from tests.simulation.world import Result, run

_SEEDS_A_SLICE = 100
_SHOWN = 3


@click.command(help="Run the pipeline in virtual time, once for each seed.")
@click.option("--seeds", default=20_000, show_default=True, help="How many.")
@click.option("--from", "first", default=0, show_default=True, help="The first.")
@click.option("--seed", type=int, help="This one alone, and tell all that happens in it.")
@click.option("--processes", type=int, help="At once; as many as there are cores by default.")
def main(seeds: int, first: int, seed: int | None, processes: int | None) -> None:
    """Exit with 1 if a promise was broken in any of the runs."""
    if seed is not None:
        result = run(draw(seed))
        _show(seed, result)
        sys.exit(not result.verdict.kept)
    started = time.monotonic()
    slices = [
        range(start, min(start + _SEEDS_A_SLICE, first + seeds))
        for start in range(first, first + seeds, _SEEDS_A_SLICE)
    ]
    failed = [seed for some in _each(slices, processes) for seed in some]
    click.echo(f"{seeds} runs in {time.monotonic() - started:.0f} s, {len(failed)} broke a promise")
    for each in failed[:_SHOWN]:
        _show(each, run(draw(each)))
    for each in failed:
        click.echo(f"make simulate SEED={each}")
    sys.exit(bool(failed))


def failing(seeds: range) -> list[int]:
    """Those of the seeds in whose run a promise was broken."""
    # With the collector off, all that a run leaves in cycles is in the youngest generation.
    gc.disable()
    failed = []
    for seed in seeds:
        if not run(draw(seed)).verdict.kept:
            failed.append(seed)
        gc.collect(0)
    gc.enable()
    return failed


def _each(slices: Sequence[range], processes: int | None) -> Iterator[Sequence[int]]:
    if processes == 1:
        yield from map(failing, slices)
        return
    with multiprocessing.Pool(processes) as pool:
        yield from pool.imap(failing, slices)


def _show(seed: int, result: Result) -> None:
    click.echo("\n".join(_lines(seed, result)))


def _lines(seed: int, result: Result) -> Iterator[str]:
    yield str(draw(seed))
    yield from result.timeline()
    yield f"seed {seed}: {result.verdict}"


if __name__ == "__main__":
    main()
