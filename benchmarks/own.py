"""What the consumer costs, alone."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import CONSUMER, Bench, Job, ages_of, settle, stop_at_once
from benchmarks.results import Idle, Latency, Ledger, Own, Start, Varied, this_machine

_DELAY_MS = 20
# Under load a poll never waits, and at the end nobody waits for the last one.
_SHORT_POLLS = {"CONSUMER_SQS__WAIT_SECONDS": "1"}
_OWN = Job(CONSUMER.command, _SHORT_POLLS)
_MANY = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: numbers of messages, unless the names say otherwise."""

    backlogs: tuple[int, ...]
    usual: int
    rates: tuple[int, ...]
    rate_seconds: float
    idle_seconds: float
    starts: int
    replicas: tuple[int, ...]
    pollers: tuple[int, ...]
    messages_a_poller: int
    ledger_rows: int
    body_bytes: tuple[int, ...]
    bodies_total_bytes: int
    parts: tuple[str, ...]
    """Modules of benchmarks that measure one part and print what they found."""


FULL = Sizes(
    backlogs=(10_000, 100_000, 1_000_000),
    usual=100_000,
    rates=(100, 1_000, 5_000),
    rate_seconds=20,
    idle_seconds=60,
    starts=5,
    replicas=(1, 2, 4),
    pollers=(1, 2, 4, 8, 16, 32),
    messages_a_poller=4_000,
    ledger_rows=20_000_000,
    body_bytes=(200, 1024, 4096, 16 * 1024, 64 * 1024, 256 * 1024),
    bodies_total_bytes=512 * 1024 * 1024,
    parts=("masking", "remask"),
)
QUICK = Sizes(
    backlogs=(1_000, 10_000),
    usual=10_000,
    rates=(100, 1_000),
    rate_seconds=2,
    idle_seconds=2,
    starts=1,
    replicas=(1, 2),
    pollers=(1, 4),
    messages_a_poller=500,
    ledger_rows=16_000,
    body_bytes=(200, 64 * 1024),
    bodies_total_bytes=16 * 1024 * 1024,
    parts=(),
)


def measure(bench: Bench, sizes: Sizes, at: str, say: Callable[[str], None]) -> Own:
    """Measure all that the report of the consumer alone has; `at` is the day."""
    machine = this_machine(bench.database.version(), at)
    say("start")
    start = _start(bench, sizes.starts)
    say("backlogs")
    backlogs = [Varied(n, bench.consume(_OWN, n)) for n in sizes.backlogs]
    say("latency")
    latencies = [_latency(bench, rate, sizes.rate_seconds) for rate in sizes.rates]
    say("idle")
    idle = _idle(bench, sizes.idle_seconds)
    say("replicas")
    replicas = [Varied(n, bench.consume(_OWN, sizes.usual, processes=n)) for n in sizes.replicas]
    say("pollers")
    pollers = _pollers(bench, sizes)
    say("bodies")
    bodies = [
        Varied(size, bench.consume(_OWN, _count(sizes, size), body_bytes=size))
        for size in sizes.body_bytes
    ]
    say("ledger")
    ledger = _ledger(bench, sizes)
    say("parts")
    return Own(
        machine=machine,
        backlogs=backlogs,
        latencies=latencies,
        idle=idle,
        start=start,
        replicas=replicas,
        pollers=pollers,
        delay_ms=_DELAY_MS,
        ledger=ledger,
        bodies=bodies,
        parts={name: _output_of(f"benchmarks.{name}") for name in sizes.parts},
    )


def _output_of(module: str) -> str:
    # S603: our own module.
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-m", module], capture_output=True, check=True, text=True
    )
    return ran.stdout


def _count(sizes: Sizes, body_bytes: int) -> int:
    return min(sizes.usual, sizes.bodies_total_bytes // body_bytes)


def _latency(bench: Bench, rate: int, seconds: float) -> Latency:
    path = bench.folder / f"ages-{rate}.json"
    job = Job((sys.executable, "-m", "benchmarks.observed", str(path)), _SHORT_POLLS)
    run = bench.follow(job, rate, seconds)
    ages = ages_of(path)
    assert len(ages) == run.messages, "a message was committed twice, or not at all"
    cuts = statistics.quantiles(ages, n=_MANY, method="inclusive")
    return Latency(rate, run, statistics.median(ages), cuts[-1], max(ages))


def _idle(bench: Bench, seconds: float) -> Idle:
    _, queue_url = bench.new_queue()
    with bench.start(CONSUMER, queue_url) as process:
        bench.await_receive(process)
        settle()
        before = process.cpu_seconds()
        bench.load.count()
        time.sleep(seconds)
        cpu_seconds = process.cpu_seconds() - before
        calls = bench.load.count()
        stop_at_once(process)
    return Idle(seconds, calls, cpu_seconds)


def _start(bench: Bench, times: int) -> Start:
    return Start(
        [_seconds_to_receive(bench) for _ in range(times)],
        [_seconds_to_help() for _ in range(times)],
    )


def _seconds_to_receive(bench: Bench) -> float:
    _, queue_url = bench.new_queue()
    bench.load.count()
    with bench.start(CONSUMER, queue_url) as process:
        return bench.await_receive(process) - process.began


def _seconds_to_help() -> float:
    began = time.monotonic()
    # S603: our own command line.
    subprocess.run(  # noqa: S603
        [Path(sys.executable).with_name("consumer"), "--help"], capture_output=True, check=True
    )
    return time.monotonic() - began


def _pollers(bench: Bench, sizes: Sizes) -> list[Varied]:
    runs = []
    bench.load.slow(_DELAY_MS / 1000)
    for pollers in sizes.pollers:
        limits = {
            "CONSUMER_SQS__MAX_POLLERS": str(pollers),
            "CONSUMER_SQS__MAX_CONCURRENT_DELETES": str(pollers),
        }
        job = Job(CONSUMER.command, {**_SHORT_POLLS, **limits})
        messages = min(sizes.usual, sizes.messages_a_poller * pollers)
        runs.append(Varied(pollers, bench.consume(job, messages)))
    bench.load.slow(0)
    return runs


def _ledger(bench: Bench, sizes: Sizes) -> Ledger:
    empty = bench.consume(_OWN, sizes.usual)
    bench.database.empty()
    bench.database.fill_ledger(sizes.ledger_rows)
    size_bytes = bench.database.ledger_bytes()
    full = bench.consume(_OWN, sizes.usual, keep_tables=True)
    truncated_rows, truncate_seconds = bench.database.truncate_oldest_slot()
    bench.database.empty()
    return Ledger(sizes.ledger_rows, size_bytes, truncated_rows, truncate_seconds, empty, full)
