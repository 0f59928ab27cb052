import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest
from click.testing import CliRunner

from tests.history.leaks import leaks_in
from tests.simulation import __main__
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import MARKS, CallFault, draw
from tests.simulation.world import Result, run

_SLICE = 50


@pytest.mark.parametrize("first", range(0, 250, _SLICE))
def test_every_promise_is_kept_whatever_a_seed_brings(first: int) -> None:
    failed = __main__.failing(range(first, first + _SLICE))
    assert not failed, " ".join(f"make simulate SEED={seed};" for seed in failed)


def test_the_seeds_bring_every_fault_and_every_end() -> None:
    lines: Counter[str] = Counter()
    for seed in range(150):
        lines.update(line.split("  ")[-1] for line in run(draw(seed)).timeline())
    seen = "\n".join(lines)
    for fault in CallFault:
        assert fault in seen, fault
    for event in (
        "Released",
        "ReceiptHandlesExpired",
        "Bisected",
        "WriteFailed",
        "kill -9",
        "SIGTERM twice",
    ):
        assert event in seen, event


def test_nothing_that_a_replica_emits_or_writes_holds_a_raw_value() -> None:
    for seed in range(50):
        result = run(draw(seed))
        shown = repr(result.log) + str(result.verdict)
        assert not list(leaks_in(f"seed {seed}", shown.encode(), MARKS))


def test_a_seed_goes_the_same_way_in_every_process() -> None:
    # A set of strings has another order for each hash seed.
    program = "from tests.simulation.test_seeds import fingerprint; print(fingerprint())"
    printed = {
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert printed == {f"{fingerprint()}\n".encode()}


def fingerprint() -> str:
    digest = hashlib.sha256()
    for seed in range(20):
        digest.update("\n".join(run(draw(seed)).timeline()).encode())
    return digest.hexdigest()


def test_a_failing_seed_is_shown_with_its_timeline_and_the_command_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant, _ = MUTANTS["delete before commit"]

    def run_mutant(scenario: object) -> Result:
        del scenario
        return run(draw(5), mutant)

    monkeypatch.setattr(__main__, "run", run_mutant)
    shown = CliRunner().invoke(__main__.main, ["--seeds", "1", "--from", "5", "--processes", "1"])
    assert shown.exit_code == 1
    assert "deleted before committed" in shown.output
    assert "DELETE_ASKED" in shown.output
    assert shown.output.endswith("make simulate SEED=5\n")
    passed = CliRunner().invoke(__main__.main, ["--seed", "5"])
    assert "deleted before committed: " in passed.output
