"""Children that end when this process does, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_the_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    variables: Mapping[str, str],
    output: IO[bytes],
    inherit: Sequence[int] = (),
    user: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program with these variables alone; what it says goes to `output`.

    To be called on the main thread: the kernel kills the child when the thread that made it ends.
    """
    # S603: programs of ours. PLW1509: the function calls nothing but prctl(2).
    return subprocess.Popen(  # noqa: S603
        arguments,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", os.defpath), **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=inherit,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        start_new_session=True,  # Ctrl-C is ours to handle
        preexec_fn=_die_with_the_parent,  # noqa: PLW1509
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a child, stopped or running, and wait for it."""
    process.kill()
    process.wait(30)
