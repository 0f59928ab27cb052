"""Prometheus metrics: a listener that counts, and the text that a scraper is given.

Over any time received = written + duplicate + quarantined + what came in flight meanwhile.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from consumer import __version__
from consumer.messages import Reason
from consumer.telemetry import events as telemetry

_BATCH_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_AGE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
# Codes come from outside; so many of a kind get a series of their own, the rest share "other".
_MAX_CODES = 50


class _Codes:
    """Keeps the number of label values bounded."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, code: str) -> str:
        if code in self._known:
            return code
        if len(self._known) >= _MAX_CODES:
            return "other"
        self._known.add(code)
        return code


class _Ages(Collector):
    """The histogram of seconds from SentTimestamp to the commit.

    A commit brings a thousand values at once; prometheus_client's own histogram takes a lock for
    each, this one 0.1 µs.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._bounds_ms = [int(bound * 1000) for bound in _AGE_SECONDS]
        self._counts = [0] * (len(_AGE_SECONDS) + 1)
        self._sum_ms = 0

    def observe(self, sent_ms: Sequence[int], now_ms: int) -> None:
        """Add messages sent at `sent_ms` and committed at `now_ms`."""
        counts, bounds = self._counts, self._bounds_ms
        for sent in sent_ms:
            counts[bisect_left(bounds, now_ms - sent)] += 1
        # Clocks may differ; a histogram's sum must never fall.
        self._sum_ms += max(0, now_ms * len(sent_ms) - sum(sent_ms))

    def collect(self) -> Iterable[HistogramMetricFamily]:
        bounds = [*(str(float(bound)) for bound in _AGE_SECONDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(
            self._name, self._text, buckets=buckets, sum_value=self._sum_ms / 1000
        )


class Metrics:
    """All metrics, in a registry of their own.

    `in_flight` tells at each scrape how many messages are held; `now` is the wall clock in
    seconds, which SentTimestamp is measured by.
    """

    def __init__(self, *, in_flight: Callable[[], int], now: Callable[[], float]) -> None:
        self._now = now
        self._registry = registry = CollectorRegistry()
        self._count_messages(registry)
        self._pollers = Gauge("consumer_pollers", "Receives that may be open.", registry=registry)
        Gauge("consumer_messages_in_flight", "Messages held now.", registry=registry).set_function(
            in_flight
        )
        self._measure_commits(registry)
        self._count_failures(registry)
        self._tell_of_the_key_ring(registry)
        Info("consumer_build", "The release that runs.", registry=registry).info(
            {"version": __version__}
        )
        ProcessCollector(registry=registry)

    def _count_messages(self, registry: CollectorRegistry) -> None:
        def messages(kind: str, text: str) -> Counter:
            return Counter(f"consumer_messages_{kind}", text, registry=registry)

        self._received = messages("received", "Messages that receives brought.")
        self._written = messages("written", "Messages committed as a row.")
        self._duplicate = messages("duplicate", "Messages that were here or written before.")
        self._deleted = messages("deleted", "Messages whose delete the queue confirmed.")
        self._extended = messages("extended", "Messages whose invisibility was extended.")
        self._lapsed = messages("lapsed", "Messages whose receipt handle had become void.")
        self._given_back = messages("released", "Messages shown to other consumers at a stop.")
        self._quarantined = Counter(
            "consumer_messages_quarantined",
            "Messages committed to quarantine.",
            ["reason"],
            registry=registry,
        )
        for reason in Reason:
            self._quarantined.labels(reason.value)
        self._receives = Counter("consumer_receives", "Receives that worked.", registry=registry)
        self._empty_receives = Counter(
            "consumer_receives_empty", "Receives that brought nothing.", registry=registry
        )

    def _measure_commits(self, registry: CollectorRegistry) -> None:
        self._batch_rows = Histogram(
            "consumer_batch_rows", "Messages in a commit.", buckets=_BATCH_ROWS, registry=registry
        )
        self._commit_seconds = Histogram(
            "consumer_commit_seconds",
            "Seconds that a statement and its commit took.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self._ages = _Ages(
            "consumer_sent_to_commit_seconds", "Seconds from a message's sending to its commit."
        )
        registry.register(self._ages)

    def _count_failures(self, registry: CollectorRegistry) -> None:
        self._queue_failures = Counter(
            "consumer_queue_failures",
            "Calls to the queue that failed.",
            ["operation", "code"],
            registry=registry,
        )
        self._write_failures = Counter(
            "consumer_write_failures",
            "Statements that failed and are run again.",
            ["sqlstate"],
            registry=registry,
        )
        self._bisected = Counter(
            "consumer_batches_bisected",
            "Batches halved: a row was refused, or it took too long.",
            registry=registry,
        )
        self._queue_codes, self._sqlstates = _Codes(), _Codes()

    def _tell_of_the_key_ring(self, registry: CollectorRegistry) -> None:
        self._key_ring = Info(
            "consumer_keyring", "The key that new tokens are made with.", registry=registry
        )
        self._reloads = Counter(
            "consumer_keyring_reloads",
            "Key rings read anew: loaded, refused as wrong, or failed to be read.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("loaded", "refused", "failed"):
            self._reloads.labels(outcome)
        self._key_ring_failures = Counter(
            "consumer_keyring_failures",
            "Calls for the key ring that failed at the start.",
            ["code"],
            registry=registry,
        )
        self._key_ring_codes = _Codes()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type, in a format that `accept` asks for."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def listen(self, event: telemetry.TelemetryEvent) -> None:  # noqa: C901, PLR0912 a case for each event is plain
        """Count an event; a listener of the pipeline."""
        match event:
            case telemetry.Received():
                self._on_received(event)
            case telemetry.Committed():
                self._on_committed(event)
            case telemetry.Deleted():
                self._deleted.inc(event.count)
            case telemetry.Extended():
                self._extended.inc(event.count)
            case telemetry.ReceiptHandlesExpired():
                self._lapsed.inc(event.count)
            case telemetry.Released():
                self._given_back.inc(event.count)
            case telemetry.PollersChanged():
                self._pollers.set(event.count)
            case telemetry.Bisected():
                self._bisected.inc()
            case telemetry.QueueFailed():
                code = self._queue_codes.label(event.code)
                self._queue_failures.labels(event.operation, code).inc()
            case telemetry.WriteFailed():
                self._write_failures.labels(self._sqlstates.label(event.sqlstate)).inc()
            case telemetry.KeyRingLoaded():
                self._on_key_ring(event)
            case telemetry.KeyRingReloadRejected():
                self._reloads.labels("refused" if event.refused else "failed").inc()
            case telemetry.KeyRingReadFailed():
                self._key_ring_failures.labels(self._key_ring_codes.label(event.code)).inc()
            case telemetry.QueueRecovered() | telemetry.Stopping() | telemetry.Stopped():
                pass  # nothing to count

    def _on_key_ring(self, event: telemetry.KeyRingLoaded) -> None:
        self._key_ring.info({"primary": event.primary})
        if event.reloaded:
            self._reloads.labels("loaded").inc()

    def _on_received(self, event: telemetry.Received) -> None:
        self._receives.inc()
        if event.count == 0:
            self._empty_receives.inc()
            return
        self._received.inc(event.count)
        if event.redelivered:
            self._duplicate.inc(event.redelivered)

    def _on_committed(self, event: telemetry.Committed) -> None:
        self._written.inc(event.rows)
        self._duplicate.inc(event.duplicates)
        for reason, count in event.quarantined.items():
            self._quarantined.labels(reason.value).inc(count)
        self._batch_rows.observe(len(event.sent_ms))
        self._commit_seconds.observe(event.seconds)
        self._ages.observe(event.sent_ms, round(self._now() * 1000))
