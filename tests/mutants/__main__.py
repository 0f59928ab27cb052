"""`python -m tests.mutants [FILE...]`: runs the mutants; exit code 1 if an unknown one survives."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

import click

from tests.mutants.mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
_COPIED = ("benchmarks", "consumer", "deploy", "devkit", "tests", "pyproject.toml", "config.toml")
_TEST_SECONDS = 20
_RUN_SECONDS = 180
_SIMULATION = ("-m", "tests.simulation", "--processes", "1", "--seeds", "150")


def _pytest(*paths: str) -> tuple[str, ...]:
    options = ("-q", "-x", "-p", "no:cacheprovider", "--timeout", str(_TEST_SECONDS))
    return ("-m", "pytest", *options, *paths)


# By file, the runs that must notice a mutant; the quick ones first.
TARGETS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "consumer/pipeline/batching.py": [_pytest("tests/unit/pipeline/test_batching.py")],
    "consumer/pipeline/in_flight.py": [
        _pytest("tests/unit/pipeline/test_in_flight.py", "tests/unit/pipeline/test_pipeline.py"),
        _SIMULATION,
    ],
    "consumer/pipeline/retrying.py": [_pytest("tests/unit/pipeline")],
    "consumer/pipeline/visibility.py": [_pytest("tests/unit/pipeline"), _SIMULATION],
    "consumer/pipeline/pipeline.py": [_pytest("tests/unit/pipeline"), _SIMULATION],
    "consumer/events/validation.py": [_pytest("tests/unit/events")],
    "consumer/events/transform.py": [_pytest("tests/unit/events")],
    "consumer/sqs/source.py": [_pytest("tests/unit/sqs/test_source.py", "tests/behaviour")],
    "consumer/postgres/sink.py": [
        _pytest(
            "tests/behaviour/test_sink.py",
            "tests/integration/postgres/test_sink.py",
            "tests/integration/postgres/test_array_literals.py",
        )
    ],
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the tests noticed a mutant of a file."""

    file: str
    mutant: Mutant
    survived: bool


@click.command()
@click.argument("files", nargs=-1)
@click.option("--processes", default=2, show_default=True, help="Mutants at a time.")
def main(files: tuple[str, ...], processes: int) -> None:
    """Run the mutants of FILES, of all by default, and compare with the known survivors."""
    chosen = [file for file in TARGETS if not files or any(file.endswith(f) for f in files)]
    work = [(file, m) for file in chosen for m in mutants_of((ROOT / file).read_text("utf-8"))]
    known = tomllib.loads(SURVIVORS.read_text("utf-8")) if SURVIVORS.exists() else {}
    with _copies(processes) as copies, ThreadPoolExecutor(processes) as pool:
        for file in chosen:  # where the tests fail anyway, they notice nothing
            unchanged = Mutant("unchanged", (ROOT / file).read_text("utf-8"))
            if not _run(copies, file, unchanged).survived:
                raise click.ClickException(f"{file}: its tests fail without any mutant")
        outcomes = []
        for outcome in pool.map(lambda each: _run(copies, *each), work):
            outcomes.append(outcome)
            if outcome.survived:
                click.echo(f"survived  {outcome.file}  {outcome.mutant.name}")
    unknown = [o for o in outcomes if o.survived and o.mutant.name not in known.get(o.file, {})]
    killed = {(o.file, o.mutant.name) for o in outcomes if not o.survived}
    stale = [(f, n) for f in chosen for n in known.get(f, {}) if (f, n) in killed]
    for file, name in stale:
        click.echo(f"listed as a survivor, but noticed  {file}  {name}")
    survived = sum(o.survived for o in outcomes)
    click.echo(f"{len(outcomes)} mutants, {survived} survived, {len(unknown)} of them unknown")
    sys.exit(bool(unknown or stale))


@contextmanager
def _copies(count: int) -> Iterator[SimpleQueue[Path]]:
    """Copies of the tree to change; each is used by one mutant at a time."""
    free: SimpleQueue[Path] = SimpleQueue()
    with TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(count):
            copy = Path(folder, str(number))
            copy.mkdir()
            for name in _COPIED:
                source = ROOT / name
                if source.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(source, copy / name, ignore=ignored)
                elif source.exists():
                    shutil.copy(source, copy / name)
            free.put(copy)
        yield free


def _run(copies: SimpleQueue[Path], file: str, mutant: Mutant) -> Outcome:
    copy = copies.get()
    original = (copy / file).read_text("utf-8")
    try:
        (copy / file).write_text(mutant.source, "utf-8")
        survived = all(_passes(copy, run) for run in TARGETS[file])
    finally:
        (copy / file).write_text(original, "utf-8")
        copies.put(copy)
    return Outcome(file, mutant, survived)


def _passes(copy: Path, arguments: Sequence[str]) -> bool:
    """Whether a run notices nothing; one that does not end has noticed."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own tests
            [sys.executable, "-B", *arguments],
            cwd=copy,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_RUN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


if __name__ == "__main__":
    main()
