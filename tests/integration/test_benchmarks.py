"""The benchmarks run, at a size that takes seconds: so they do not rot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import own, report
from benchmarks.bench import CONSUMER, Bench, Job, open_bench
from benchmarks.peer_runs import measure
from benchmarks.results import save

MESSAGES = 200
TINY = own.Sizes(
    backlogs=(MESSAGES,),
    usual=MESSAGES,
    rates=(200,),
    rate_seconds=1,
    idle_seconds=0.1,
    starts=1,
    replicas=(),
    pollers=(),
    messages_a_poller=100,
    ledger_rows=1600,
    body_bytes=(),
    bodies_total_bytes=14_000_000,
    parts=(),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with open_bench() as opened:
        yield opened


def test_a_run_counts_what_the_consumer_did(bench: Bench) -> None:
    run = bench.consume(Job(CONSUMER.command, {"CONSUMER_SQS__WAIT_SECONDS": "1"}), MESSAGES)
    assert run.messages == bench.database.rows() == MESSAGES
    assert run.calls["DeleteMessageBatch"] >= MESSAGES / 10
    assert run.calls["ReceiveMessage"] >= MESSAGES / 10
    assert run.cpu_seconds > 0
    assert run.start_cpu_seconds > 0
    assert run.postgres_cpu_seconds >= 0
    assert run.peak_rss_bytes > 10 * 2**20


def test_a_consumer_that_fails_ends_the_benchmark_with_its_output(bench: Bench) -> None:
    broken = Job(CONSUMER.command, {"CONSUMER_SQS__WAIT_SECONDS": "21"})
    with pytest.raises(RuntimeError, match="ended before") as failure:
        bench.consume(broken, 10)
    assert "CONSUMER_SQS__WAIT_SECONDS" in "".join(failure.value.__notes__)


@pytest.mark.timeout(240)
def test_the_report_is_written_from_the_results(bench: Bench, tmp_path: Path) -> None:
    paths = report.Paths(tmp_path)
    save(own.measure(bench, TINY, "2026-01-01", lambda _: None), paths.own)
    report.write(paths)
    text = paths.report.read_text()
    for line in ("| 200 |", "| ledger rows |", "In 0 idle seconds: "):
        assert line in text
    assert "Beside others" not in text


def test_what_is_not_installed_is_skipped_with_a_note(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    peers = {
        peer.name: peer for peer in measure(bench, "2026-01-01", lambda _: None, times=0).peers
    }
    assert peers["bento"].skipped == "bento is not on PATH"
    assert peers["consumer"].skipped is None
