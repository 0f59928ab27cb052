"""Consumers as processes, and what the kernel says that they used."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
# Linux counts the largest resident set in KiB, macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a whole process: CPU, user and system, and the largest resident set."""

    cpu_seconds: float
    peak_rss_bytes: int


class RunningProcess:
    """A process whose output goes to a file; a context manager that leaves none behind."""

    def __init__(self, command: tuple[str, ...], environ: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._log = log
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.began = time.time()
        self.pid = os.posix_spawn(
            command[0],
            command,
            environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        self._usage: Usage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._usage is None:
            self.end(signal.SIGKILL)
        if error is not None and self._log.exists():
            error.add_note(f"{self._log.name}: {self._log.read_text()[-2000:]}")

    def require_alive(self) -> None:
        """Raise RuntimeError if the process has ended by itself."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise RuntimeError(f"{' '.join(self._command)} ended before it was asked to")

    def cpu_seconds(self) -> float:
        """CPU so far, in steps of 10 ms."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def end(self, number: signal.Signals = signal.SIGTERM) -> Usage:
        """Signal the process, wait for it, and return what it used."""
        os.kill(self.pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while True:
            pid, _, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        self._usage = Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * _RSS_UNIT)
        return self._usage
