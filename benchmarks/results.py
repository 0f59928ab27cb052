"""What was measured, as it is kept in JSON beside the report."""

import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
from pydantic import TypeAdapter

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    postgres: str
    at: str
    """The UTC day."""


@dataclass(frozen=True, slots=True)
class Run:
    """One consumption of a queue, by one process or several.

    It begins when the processes are ready and the queue is filled, and ends with the last delete.
    CPU is user and system of all threads, without the start's, which stands by itself.
    """

    messages: int
    seconds: float
    cpu_seconds: float
    start_cpu_seconds: float
    peak_rss_bytes: int
    """Of the largest process."""
    postgres_cpu_seconds: float
    calls: dict[str, int]

    @property
    def cpu_us(self) -> float:
        """CPU in microseconds a message."""
        return self.cpu_seconds / self.messages * 1e6

    @property
    def postgres_cpu_us(self) -> float:
        """PostgreSQL's CPU in microseconds a row."""
        return self.postgres_cpu_seconds / self.messages * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def calls_per_1000(self) -> float:
        """Calls to SQS for 1,000 messages."""
        return sum(self.calls.values()) / self.messages * 1000


@dataclass(frozen=True, slots=True)
class Varied:
    """Runs that differ in one number."""

    value: int
    run: Run


@dataclass(frozen=True, slots=True)
class Latency:
    """From a message's sending to the acknowledged commit, in milliseconds, at a steady rate."""

    rate: int
    run: Run
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What waiting costs."""

    seconds: float
    calls: dict[str, int]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start of the process, several times over."""

    to_first_receive: list[float]
    to_end_of_help: list[float]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger, full."""

    rows: int
    size_bytes: int
    truncated_rows: int
    truncate_seconds: float
    empty: Run
    full: Run


@dataclass(frozen=True, slots=True)
class Own:
    """The consumer alone."""

    machine: Machine
    backlogs: list[Varied]
    latencies: list[Latency]
    idle: Idle
    start: Start
    replicas: list[Varied]
    pollers: list[Varied]
    delay_ms: int
    ledger: Ledger
    bodies: list[Varied]
    parts: dict[str, str]
    """What the benchmarks of single parts have printed, by their modules' names."""


@dataclass(frozen=True, slots=True)
class PeerRuns:
    """A peer's runs; none with the reason if it was skipped."""

    name: str
    title: str
    runs: list[Run] = field(default_factory=list)
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Peers:
    """The consumer beside others."""

    machine: Machine
    peers: list[PeerRuns]


def this_machine(postgres: str, at: str) -> Machine:
    """Describe this machine."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        postgres=postgres,
        at=at,
    )


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def save(results: Own | Peers, path: Path) -> None:
    """Write results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    adapter: TypeAdapter[Own | Peers] = TypeAdapter(Own | Peers)
    path.write_bytes(adapter.dump_json(results, indent=1) + b"\n")


def load(kind: type[_T], path: Path) -> _T:
    """Read results; raises FileNotFoundError if there are none."""
    return TypeAdapter(kind).validate_json(path.read_bytes())
