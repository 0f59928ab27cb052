"""Writes docs/benchmarks.md from the stored results."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.results import Machine, Own, PeerRuns, Peers, Run, load

# https://aws.amazon.com/sqs/pricing/: standard queues, up to 100 billion requests a month; every
# 64 KiB of a payload is a request.
_DOLLARS_A_MILLION_REQUESTS = 0.40
_CHUNK_BYTES = 64 * 1024
_USUAL_BODY_BYTES = 200
_MESSAGES_A_CALL = 10
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the report, its pictures and its raw results are."""

    docs: Path

    @property
    def own(self) -> Path:
        """The consumer alone."""
        return self.docs / "benchmarks" / "own.json"

    @property
    def peers(self) -> Path:
        """The consumer beside others."""
        return self.docs / "benchmarks" / "peers.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.docs / "benchmarks.md"

    def picture(self, name: str) -> Path:
        """A picture of the report."""
        return self.docs / "benchmarks" / f"{name}.svg"


def write(paths: Paths) -> None:
    """Write the report, and the pictures where matplotlib is installed."""
    own = load(Own, paths.own) if paths.own.exists() else None
    peers = load(Peers, paths.peers) if paths.peers.exists() else None
    sections = [_INTRODUCTION]
    if peers is not None:
        sections += _peers(peers)
    if own is not None:
        sections += _own(own)
    paths.report.write_text("\n\n".join(sections) + "\n")
    if find_spec("matplotlib") is not None:
        # Imported here: matplotlib is not in the lock of development.
        from benchmarks import pictures  # noqa: PLC0415

        if own is not None:
            pictures.draw_own(own, paths.picture)
        if peers is not None:
            pictures.draw_peers(peers, paths.picture)


_INTRODUCTION = """\
# Benchmarks

What the consumer costs, measured from outside: `consumer run` as its users start it, between an SQS
server that speaks HTTP in a process of its own and a PostgreSQL on its defaults (so each commit
waits for the disk). `make bench` writes the part on the consumer alone, `make bench-peers` the
comparison; both write this page from the raw results in [benchmarks/](benchmarks/).

Consumer, queue and database share one machine, so messages a second are a lower bound; what carries
over to other machines is CPU per message, and above all the ratios. CPU is user and system of all
threads of the process, from the filling of the queue to the end; the start's stands by itself.
Events are valid logins of about 200 bytes, unless it says otherwise."""


def _machine(machine: Machine) -> str:
    return (
        f"Measured on {machine.at}: {machine.processor}, {machine.cores} cores,"
        f" {machine.memory_bytes / 2**30:.0f} GiB, {machine.system},"
        f" Python {machine.python}, PostgreSQL {machine.postgres}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _peers(peers: Peers) -> Iterator[str]:
    yield "## Beside others"
    yield (
        "Each does the same job: validate or parse the event, mask both fields, write the row,"
        " delete the message. Medians of alternating runs. None but the consumer has a ledger, so"
        " none but the consumer writes each message once; the floor neither validates nor masks,"
        " and is what receiving, deleting and COPY cost without any of it."
    )
    yield _machine(peers.machine)
    ran = [peer for peer in peers.peers if peer.runs]
    ours = next(peer for peer in ran if peer.name == "consumer")
    yield _table(
        (
            "way",
            "CPU µs a message",
            "times ours",
            "PostgreSQL µs a row",
            "calls per 1,000",
            "messages a second",
            "peak RSS MiB",
            "messages, runs",
        ),
        (_peer_row(peer, ours) for peer in ran),
    )
    for peer in peers.peers:
        if peer.skipped:
            yield f"Skipped: {peer.title} ({peer.skipped})."
    yield "![CPU a message](benchmarks/peers.svg)"


def _peer_row(peer: PeerRuns, ours: PeerRuns) -> Sequence[str]:
    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(map(of, peer.runs))

    cpu_us = median(lambda run: run.cpu_us)
    return (
        peer.title,
        f"{cpu_us:,.1f}",
        f"{cpu_us / statistics.median(run.cpu_us for run in ours.runs):.2f}",
        f"{median(lambda run: run.postgres_cpu_us):,.1f}",
        f"{median(lambda run: run.calls_per_1000):,.0f}",
        f"{median(lambda run: run.rate):,.0f}",
        f"{median(lambda run: run.peak_rss_bytes) / _MIB:.0f}",
        f"{peer.runs[0].messages:,}, {len(peer.runs)}",
    )


def _own(own: Own) -> Iterator[str]:
    yield "## The consumer alone"
    yield _machine(own.machine)
    yield "### A growing backlog"
    yield _runs("messages in the queue", ((f"{each.value:,}", each.run) for each in own.backlogs))
    yield "![Backlog](benchmarks/backlog.svg)"
    yield from _latency(own)
    yield from _idle_and_start(own)
    yield "### More replicas"
    yield "On one queue and one database, all on this machine's cores."
    yield _runs("replicas", ((str(each.value), each.run) for each in own.replicas))
    yield "### More pollers, on a distant queue"
    yield (
        f"Every call to the queue takes {own.delay_ms} ms longer, as on AWS. The number bounds the"
        " open receives (`sqs.max_pollers`) and likewise the open deletes"
        " (`sqs.max_concurrent_deletes`)."
    )
    yield _runs("pollers", ((str(each.value), each.run) for each in own.pollers))
    yield "![Pollers](benchmarks/pollers.svg)"
    yield "### Larger bodies"
    yield (
        "SQS counts each 64 KiB of a payload as a request, so large bodies cost more dollars than"
        " calls."
    )
    yield _runs(
        "bytes",
        ((f"{each.value:,}", each.run) for each in own.bodies),
        [v.value for v in own.bodies],
    )
    yield from _ledger(own)
    for name, printed in own.parts.items():
        yield f"### Alone: `python -m benchmarks.{name}`"
        yield f"```\n{printed.rstrip()}\n```"


def _latency(own: Own) -> Iterator[str]:
    yield "### From sending to commit"
    yield "At a steady rate; until PostgreSQL has acknowledged the commit. In milliseconds."
    yield _table(
        ("messages a second", "p50", "p99", "longest", "CPU µs a message", "calls per 1,000"),
        (
            (
                f"{each.rate:,}",
                f"{each.p50_ms:.0f}",
                f"{each.p99_ms:.0f}",
                f"{each.longest_ms:.0f}",
                f"{each.run.cpu_us:.1f}",
                f"{each.run.calls_per_1000:.0f}",
            )
            for each in own.latencies
        ),
    )
    yield "![Latency](benchmarks/latency.svg)"


def _idle_and_start(own: Own) -> Iterator[str]:
    idle, start = own.idle, own.start
    yield "### Waiting and starting"
    calls = sum(idle.calls.values())
    # Counted in steps of 10 ms, of which there may be none.
    cpu = f"{idle.cpu_seconds * 1000:.0f} ms" if idle.cpu_seconds else "less than 10 ms"
    yield (
        f"In {idle.seconds:.0f} idle seconds: {calls} calls to SQS and"
        f" {cpu} of CPU. A month of that is"
        f" ${_dollars(calls / idle.seconds * 30 * 86_400):.2f}."
    )
    yield (
        f"From the start of the process to its first receive:"
        f" {statistics.median(start.to_first_receive):.2f} s."
        f" `consumer --help`: {statistics.median(start.to_end_of_help):.2f} s."
    )


def _ledger(own: Own) -> Iterator[str]:
    ledger = own.ledger
    yield "### The ledger, full"
    yield (
        f"{ledger.rows:,} message ids of the last 16 days, after which they are pruned, take"
        f" {ledger.size_bytes / _MIB:,.0f} MiB with their index, or"
        f" {ledger.size_bytes / ledger.rows:.0f} bytes each. Emptying the slot of a day"
        f" ({ledger.truncated_rows:,} rows) takes {ledger.truncate_seconds * 1000:.0f} ms."
    )
    yield _runs("ledger rows", (("0", ledger.empty), (f"{ledger.rows:,}", ledger.full)))


def _runs(
    what: str, runs: Iterable[tuple[str, Run]], body_bytes: Sequence[int] | None = None
) -> str:
    rows = list(runs)
    sizes = body_bytes or [_USUAL_BODY_BYTES] * len(rows)
    return _table(
        (
            what,
            "CPU µs a message",
            "PostgreSQL µs a row",
            "calls per 1,000",
            "$ a million",
            "messages a second",
            "peak RSS MiB",
        ),
        (
            (
                label,
                f"{run.cpu_us:,.1f}",
                f"{run.postgres_cpu_us:,.1f}",
                f"{run.calls_per_1000:,.0f}",
                f"{_dollars(_requests(run, size) / run.messages * 1e6):.3f}",
                f"{run.rate:,.0f}",
                f"{run.peak_rss_bytes / _MIB:.0f}",
            )
            for (label, run), size in zip(rows, sizes, strict=True)
        ),
    )


def _requests(run: Run, body_bytes: int) -> float:
    """What SQS bills: one request for each call, and for each further 64 KiB that it carries."""
    chunks = max(1.0, body_bytes * _MESSAGES_A_CALL / _CHUNK_BYTES)
    receives = run.calls.get("ReceiveMessage", 0)
    return sum(run.calls.values()) + receives * (chunks - 1)


def _dollars(requests: float) -> float:
    return requests / 1e6 * _DOLLARS_A_MILLION_REQUESTS
