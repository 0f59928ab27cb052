"""The service as processes: `python -m consumer run`, several at a time."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tests import processes
from tests.waiting import eventually

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
SERVICE = ("-m", "consumer", "run")
# The service with its edges wrapped; see there.
WRAPPED = ("-m", "tests.faults.replica", "run")


@dataclass(eq=False)
class Replica:
    """One replica; what it says is in `log`, over all its lives."""

    name: str
    folder: Path
    variables: Mapping[str, str]
    arguments: Sequence[str] = SERVICE
    exits: list[int] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _log_begins: int = 0

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int | None:
        """Its HTTP port, once it says so."""
        return next((int(str(line["port"])) for line in self._said("listening")), None)

    @property
    def consumes(self) -> bool:
        """Whether it has come to consume in its present life."""
        return bool(self._said("consuming"))

    def start(self) -> None:
        assert not self.running
        self._note_exit()
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = processes.start(
                [sys.executable, *self.arguments],
                folder=self.folder,
                variables=self.variables,
                output=log,
            )

    async def consuming(self) -> None:
        """Wait until it consumes."""

        def consumes() -> bool:
            assert self.running, f"{self.name} ended with {self.exit_code()}; see {self.log}"
            return self.consumes

        await eventually(consumes, within_seconds=_START_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        if self._process is not None:
            processes.end(self._process)

    async def stopped(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        await eventually(lambda: not self.running, within_seconds=_STOP_SECONDS)
        return self.exit_code()

    def exit_code(self) -> int:
        return 0 if self._process is None else self._process.wait(0)

    def resident_bytes(self) -> int:
        """Resident memory; 0 while it does not run."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.running else 0
        except psutil.NoSuchProcess:
            return 0

    async def get(self, path: str) -> str:
        """What its HTTP port answers; empty if it does not."""
        timeout = aiohttp.ClientTimeout(total=10)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return await answer.text()
        return ""

    def _said(self, event: str) -> list[Mapping[str, object]]:
        """The log lines of an event, of its present life."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = [line for line in log if line.endswith(b"\n") and f'"{event}"'.encode() in line]
        return [fields for line in lines if (fields := json.loads(line))["event"] == event]

    def _note_exit(self) -> None:
        if self._process is not None:
            self.exits.append(self.exit_code())


async def stop_all(replicas: Sequence[Replica]) -> Sequence[str]:
    """Send SIGTERM to all that run; return the names of those that did not end well."""
    running = [replica for replica in replicas if replica.running]
    codes = await asyncio.gather(*(replica.stopped() for replica in running))
    return [replica.name for replica, code in zip(running, codes, strict=True) if code]
