"""The metrics: what each event counts, and what a scraper is given."""

import cProfile
from itertools import pairwise

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from consumer import __version__
from consumer.messages import Reason
from consumer.telemetry import events as telemetry
from consumer.telemetry.metrics import Metrics

NOW_SECONDS = 1_700_000_000.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(in_flight=lambda: 0, now=lambda: NOW_SECONDS)


def samples(metrics: Metrics) -> dict[str, float]:
    text = metrics.render("")[0].decode()
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_every_event_is_counted(metrics: Metrics) -> None:
    for event in (
        telemetry.Received(count=10, redelivered=2, seconds=0.1),
        telemetry.Received(count=0, redelivered=0, seconds=20),
        telemetry.MessageDamaged("BodyDamaged"),
        telemetry.Committed(
            rows=5,
            quarantined={Reason.NOT_JSON: 2},
            duplicates=1,
            seconds=0.004,
            sent_ms=(1_699_999_999_000,) * 8,
        ),
        telemetry.MessagesQuarantined(Reason.NOT_JSON, 2),
        telemetry.Deleted(8),
        telemetry.Extended(4),
        telemetry.ReceiptHandlesExpired(3),
        telemetry.Released(1),
        telemetry.PollersChanged(7),
        telemetry.Bisected(8, "23514"),
        telemetry.QueueFailed("ReceiveMessage", "OverLimit", refused=False, pause_seconds=1),
        telemetry.QueueFailed("ReceiveMessage", "AccessDenied", refused=True, pause_seconds=1),
        telemetry.WriteFailed(8, "57P01", refused=False, pause_seconds=1),
        telemetry.DatabaseUnavailable("57P03", pause_seconds=1),
        telemetry.LedgerPruned(1),
        telemetry.LedgerPruneFailed("42501"),
        telemetry.KeyRingReadFailed("GetSecretValue", "ThrottlingException", 1),
        telemetry.KeyRingLoaded("k1", 1, reloaded=False),
        telemetry.KeyRingLoaded("k2", 2, reloaded=True),
        telemetry.KeyRingReloadRejected("key ring: it is not JSON", refused=True),
        telemetry.KeyRingReloadRejected("database: 08006", refused=False),
        telemetry.QueueRecovered("ReceiveMessage"),
        telemetry.Stopping(0),
        telemetry.Stopped(0),
    ):
        metrics.listen(event)
    expected = {
        "consumer_messages_received_total": 10,
        "consumer_messages_damaged_total": 1,
        "consumer_messages_written_total": 5,
        "consumer_messages_duplicate_total": 3,
        "consumer_messages_quarantined_total{not_json}": 2,
        "consumer_messages_deleted_total": 8,
        "consumer_messages_extended_total": 4,
        "consumer_messages_receipt_handle_expired_total": 3,
        "consumer_messages_released_total": 1,
        "consumer_receives_total": 2,
        "consumer_receives_empty_total": 1,
        "consumer_pollers": 7,
        "consumer_batches_bisected_total": 1,
        "consumer_queue_failures_total{ReceiveMessage}{false}": 1,
        "consumer_queue_failures_total{ReceiveMessage}{true}": 1,
        "consumer_queue_failure_codes_total{OverLimit}{ReceiveMessage}": 1,
        "consumer_queue_failure_codes_total{AccessDenied}{ReceiveMessage}": 1,
        "consumer_write_failures_total{false}": 1,
        "consumer_write_failures_total{true}": 0,
        "consumer_write_failure_sqlstates_total{57P01}": 1,
        "consumer_database_unavailable_total": 1,
        "consumer_ledger_prunes_total{pruned}": 1,
        "consumer_ledger_prunes_total{failed}": 1,
        "consumer_batch_rows_count": 1,
        "consumer_batch_rows_sum": 8,
        "consumer_commit_seconds_count": 1,
        "consumer_commit_seconds_bucket{0.005}": 1,
        "consumer_commit_seconds_bucket{0.002}": 0,
        "consumer_sent_to_commit_seconds_count": 8,
        "consumer_sent_to_commit_seconds_sum": 8,
        "consumer_sent_to_commit_seconds_bucket{1.0}": 8,
        "consumer_sent_to_commit_seconds_bucket{0.5}": 0,
        "consumer_keyring_info{k2}": 1,
        "consumer_keyring_info{k1}": None,
        "consumer_keyring_reloads_total{loaded}": 1,
        "consumer_keyring_reloads_total{refused}": 1,
        "consumer_keyring_reloads_total{failed}": 1,
        "consumer_keyring_read_failures_total": 1,
        f"consumer_build_info{{{__version__}}}": 1,
    }
    got = samples(metrics)
    assert {name: got.get(name) for name in expected} == expected


def test_series_of_known_labels_are_there_from_the_start(metrics: Metrics) -> None:
    got = samples(metrics)
    for reason in Reason:
        assert got[f"consumer_messages_quarantined_total{{{reason}}}"] == 0
    for operation in ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
        for refused in ("true", "false"):
            assert got[f"consumer_queue_failures_total{{{operation}}}{{{refused}}}"] == 0
    assert got["consumer_database_unavailable_total"] == 0


def test_no_sample_says_when_a_counter_was_made(metrics: Metrics) -> None:
    metrics.listen(telemetry.Committed(1, {}, 0, 0.01, (1,)))
    for accept in ("", "application/openmetrics-text; version=1.0.0"):
        assert b"_created" not in metrics.render(accept)[0]


def test_messages_in_flight_are_asked_for_at_each_scrape() -> None:
    held = iter((3, 4))
    metrics = Metrics(in_flight=lambda: next(held), now=lambda: NOW_SECONDS)
    assert samples(metrics)["consumer_messages_in_flight"] == 3
    assert samples(metrics)["consumer_messages_in_flight"] == 4


def test_codes_from_outside_cannot_make_series_without_end(metrics: Metrics) -> None:
    for number in range(200):
        metrics.listen(
            telemetry.QueueFailed("ReceiveMessage", f"E{number}", refused=False, pause_seconds=1)
        )
        metrics.listen(telemetry.WriteFailed(1, f"S{number}", refused=False, pause_seconds=1))
    got = samples(metrics)
    for name in (
        "consumer_queue_failure_codes_total",
        "consumer_write_failure_sqlstates_total",
    ):
        series = [key for key in got if key.startswith(name)]
        assert len(series) == 51
        assert sum(got[key] for key in series) == 200


def test_ages_are_cumulative_and_a_clock_ahead_of_ours_is_an_age_of_nothing(
    metrics: Metrics,
) -> None:
    now_ms = int(NOW_SECONDS * 1000)
    sent_ms = (now_ms + 5000, now_ms - 10, now_ms - 1500, now_ms - 15 * 86_400_000)
    metrics.listen(telemetry.Committed(4, {}, 0, 0.01, sent_ms))
    metrics.listen(telemetry.Committed(1, {}, 0, 0.01, (now_ms + 5000,)))
    got = samples(metrics)
    name = "consumer_sent_to_commit_seconds"
    buckets = [value for key, value in got.items() if key.startswith(f"{name}_bucket")]
    assert all(low <= high for low, high in pairwise(buckets))
    assert buckets[0] == 3
    assert got[f"{name}_bucket{{+Inf}}"] == got[f"{name}_count"] == 5
    assert got[f"{name}_sum"] > 15 * 86_400 - 10


def test_a_thousand_ages_take_no_more_calls_than_one(metrics: Metrics) -> None:
    def calls(messages: int) -> int:
        sent_ms = tuple(int(NOW_SECONDS * 1000) - number for number in range(messages))
        profile = cProfile.Profile(builtins=False)
        profile.runcall(metrics.listen, telemetry.Committed(messages, {}, 0, 0.01, sent_ms))
        return sum(entry.callcount for entry in profile.getstats())

    assert 0 < calls(1000) == calls(1)


def test_a_scraper_gets_the_format_that_it_asks_for(metrics: Metrics) -> None:
    text, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(text.decode())  # type: ignore[no-untyped-call]  # it has no types
    assert len(list(families)) > 15
    assert metrics.render("*/*")[1].startswith("text/plain; version=")


def test_process_metrics_are_there(metrics: Metrics) -> None:
    assert samples(metrics)["process_resident_memory_bytes"] > 0


def test_two_sets_of_metrics_do_not_meet(metrics: Metrics) -> None:
    other = Metrics(in_flight=lambda: 0, now=lambda: NOW_SECONDS)
    other.listen(telemetry.Deleted(5))
    assert samples(metrics)["consumer_messages_deleted_total"] == 0
