"""How the trial talks to the engine, waits and complains."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_SECONDS = 0.5
_COMMAND_SECONDS = 600


class CheckError(Exception):
    """Something is not as it was promised."""


def check(what: str, *, holds: bool) -> None:
    """Raise CheckError if `what` does not hold."""
    if not holds:
        raise CheckError(f"does not hold: {what}")


def say(text: str) -> None:
    """Tell what was seen."""
    print(f"docker-test: {text}", flush=True)


def run(
    *command: str,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its output; raise CheckError with its errors if it fails."""
    answer = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_COMMAND_SECONDS,
    )
    if answer.returncode != 0:
        sys.stderr.buffer.write(answer.stdout + answer.stderr)
        raise CheckError(f"{' '.join(command)}: exit code {answer.returncode}")
    return answer.stdout.decode(errors="replace")


def works(*command: str) -> bool:
    """Tell whether a command is there and succeeds."""
    try:
        answer = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def missing() -> Sequence[str]:
    """What it takes and this machine has not; empty if all is there."""
    if not works("docker", "info"):
        return ["no Docker engine answers (docker info)"]
    plugins = ("buildx", "compose")
    return [f"no docker {name}" for name in plugins if not works("docker", name, "version")]


def eventually(what: str, condition: Callable[[], bool], *, within_seconds: float) -> None:
    """Return once `condition` holds; raise CheckError if it does not in time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CheckError(f"not within {within_seconds:.0f} s: {what}")
        time.sleep(_POLL_SECONDS)
