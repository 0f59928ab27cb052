"""Prometheus metrics, counted from events, and the text that a scraper gets.

Over any time received = written + duplicate + quarantined + the growth of in flight.
To add a metric, add a line to one of the methods of `Metrics` that list them.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Generic, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from consumer import __version__
from consumer.messages import Reason
from consumer.telemetry.events import (
    Bisected,
    Committed,
    DatabaseUnavailable,
    Deleted,
    Extended,
    KeyRingLoaded,
    KeyRingReadFailed,
    KeyRingReloadRejected,
    LedgerPruned,
    LedgerPruneFailed,
    MessageDamaged,
    MessagesQuarantined,
    PollersChanged,
    QueueFailed,
    ReceiptHandlesExpired,
    Received,
    Released,
    TelemetryEvent,
    WriteFailed,
)

_BATCH_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_AGE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
_OPERATIONS = (
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
)
_REFUSED = {True: "true", False: "false"}
# A label with these values is open: its series appear one by one, because its values come from
# outside. So many of them get a series of their own, and the rest share "other".
_OPEN: Sequence[str] = ()
_MAX_OPEN_SERIES = 50

_E = TypeVar("_E", bound=TelemetryEvent)
_V = TypeVar("_V")
_Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rule(Generic[_V]):
    """What an event of the type `kind` brings a metric: a value, and the series that it is for."""

    kind: type[TelemetryEvent]
    value: Callable[[TelemetryEvent], _V]
    labels: Callable[[TelemetryEvent], _Labels]


def _on(
    kind: type[_E], value: Callable[[_E], _V], labels: Callable[[_E], _Labels] = lambda _: ()
) -> _Rule[_V]:
    # Safe: a rule is applied to events of its own type alone.
    return _Rule(
        kind,
        cast("Callable[[TelemetryEvent], _V]", value),
        cast("Callable[[TelemetryEvent], _Labels]", labels),
    )


def _each(kind: type[_E], labels: Callable[[_E], _Labels] = lambda _: ()) -> _Rule[int]:
    return _on(kind, lambda _: 1, labels)


class Metrics:
    """All metrics, in a registry of their own.

    `in_flight` is asked at each scrape; `now` is the wall clock in seconds, as SentTimestamp is.
    """

    def __init__(self, *, in_flight: Callable[[], int], now: Callable[[], float]) -> None:
        self._registry = _Registry()
        self._updates: dict[type[TelemetryEvent], list[Callable[[TelemetryEvent], None]]] = (
            defaultdict(list)
        )
        self._messages(in_flight)
        self._commits(now)
        self._queue_failures()
        self._database_failures()
        self._key_ring()
        build = Info("consumer_build", "The release that runs.", registry=self._registry)
        build.info({"version": __version__})
        ProcessCollector(registry=self._registry)

    def listen(self, event: TelemetryEvent) -> None:
        for update in self._updates.get(type(event), ()):
            update(event)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type, in a format that `accept` asks for."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def _messages(self, in_flight: Callable[[], int]) -> None:
        count = self._counter
        count("receives", "Receives that succeeded.", _each(Received))
        count("receives_empty", "Receives of no message.", _on(Received, lambda e: e.count == 0))
        count("messages_received", "Messages received.", _on(Received, lambda e: e.count))
        count(
            "messages_damaged",
            "Received messages that were damaged and left in the queue.",
            _each(MessageDamaged),
        )
        count("messages_written", "Messages committed as a row.", _on(Committed, lambda e: e.rows))
        count(
            "messages_duplicate",
            "Messages that were in flight or committed already.",
            _on(Received, lambda e: e.redelivered),
            _on(Committed, lambda e: e.duplicates),
        )
        count(
            "messages_quarantined",
            "Messages committed to quarantine.",
            _on(MessagesQuarantined, lambda e: e.count, lambda e: (e.reason.value,)),
            labels={"reason": [each.value for each in Reason]},
        )
        count("messages_deleted", "Messages deleted.", _on(Deleted, lambda e: e.count))
        count(
            "messages_extended", "Visibility timeouts extended.", _on(Extended, lambda e: e.count)
        )
        count(
            "messages_receipt_handle_expired",
            "Messages whose receipt handle expired before they were deleted.",
            _on(ReceiptHandlesExpired, lambda e: e.count),
        )
        count("messages_released", "Messages released at a stop.", _on(Released, lambda e: e.count))
        in_flight_now = Gauge(
            "consumer_messages_in_flight", "Messages in flight.", registry=self._registry
        )
        in_flight_now.set_function(in_flight)
        self._gauge("pollers", "Receives that may be open.", _on(PollersChanged, lambda e: e.count))

    def _commits(self, now: Callable[[], float]) -> None:
        rows = _on(Committed, lambda e: float(len(e.sent_ms)))
        self._histogram("batch_rows", "Messages in a commit.", rows, _BATCH_ROWS)
        seconds = _on(Committed, lambda e: e.seconds)
        self._histogram(
            "commit_seconds",
            "Seconds from sending a statement to its commit.",
            seconds,
            _COMMIT_SECONDS,
        )
        ages = _Ages(
            "consumer_sent_to_commit_seconds",
            "Seconds from a message's SentTimestamp to its commit.",
        )
        self._registry.register(ages)
        sent_ms = _on(Committed, lambda e: e.sent_ms)
        self._apply(sent_ms, lambda _, each: ages.observe(each, round(now() * 1000)))

    def _queue_failures(self) -> None:
        self._counter(
            "queue_failures",
            "Failed calls to the queue; refused: they fail until someone acts.",
            _each(QueueFailed, lambda e: (e.operation, _REFUSED[e.refused])),
            labels={"operation": _OPERATIONS, "refused": list(_REFUSED.values())},
        )
        self._counter(
            "queue_failure_codes",
            "Failed calls to the queue, by the error's code.",
            _each(QueueFailed, lambda e: (e.operation, e.code)),
            labels={"operation": _OPERATIONS, "code": _OPEN},
        )

    def _database_failures(self) -> None:
        count = self._counter
        count(
            "write_failures",
            "Failed statements, which are run again; refused: they fail until someone acts.",
            _each(WriteFailed, lambda e: (_REFUSED[e.refused],)),
            labels={"refused": list(_REFUSED.values())},
        )
        count(
            "write_failure_sqlstates",
            "Failed statements, by SQLSTATE.",
            _each(WriteFailed, lambda e: (e.sqlstate,)),
            labels={"sqlstate": _OPEN},
        )
        count(
            "batches_bisected", "Batches halved after a rejected row or a timeout.", _each(Bisected)
        )
        count(
            "database_unavailable",
            "Failed attempts to use the database at the start.",
            _each(DatabaseUnavailable),
        )
        count(
            "ledger_prunes",
            "Attempts to prune the ledger.",
            _each(LedgerPruned, lambda _: ("pruned",)),
            _each(LedgerPruneFailed, lambda _: ("failed",)),
            labels={"outcome": ("pruned", "failed")},
        )

    def _key_ring(self) -> None:
        primary = _on(KeyRingLoaded, lambda e: {"primary": e.primary})
        self._info("keyring", "The key that makes new tokens.", primary)
        self._counter(
            "keyring_read_failures",
            "Failed attempts to read the key ring at the start.",
            _each(KeyRingReadFailed),
        )
        self._counter(
            "keyring_reloads",
            "Key rings read at a SIGHUP: loaded, refused as wrong, or failed to be read.",
            _on(KeyRingLoaded, lambda e: e.reloaded, lambda _: ("loaded",)),
            _each(KeyRingReloadRejected, lambda e: ("refused" if e.refused else "failed",)),
            labels={"outcome": ("loaded", "refused", "failed")},
        )

    def _counter(
        self,
        name: str,
        text: str,
        *rules: _Rule[int],
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Count events. Series of labels whose values are known exist from the start."""
        labels = labels or {}
        counter = Counter(f"consumer_{name}", text, tuple(labels), registry=self._registry)
        series = {
            values: counter.labels(*values) if values else counter
            for values in product(*labels.values())
        }
        max_series = len(series) + _MAX_OPEN_SERIES

        def count(values: _Labels, amount: int) -> None:
            if not amount:  # a receive seldom has redelivered messages: spare the lock
                return
            if values not in series:
                if len(series) >= max_series:
                    values = (*values[:-1], "other")
                series[values] = counter.labels(*values)
            series[values].inc(amount)

        for rule in rules:
            self._apply(rule, count)

    def _gauge(self, name: str, text: str, rule: _Rule[int]) -> None:
        gauge = Gauge(f"consumer_{name}", text, registry=self._registry)
        self._apply(rule, lambda _, value: gauge.set(value))

    def _histogram(self, name: str, text: str, rule: _Rule[float], bounds: Sequence[float]) -> None:
        histogram = Histogram(f"consumer_{name}", text, buckets=bounds, registry=self._registry)
        self._apply(rule, lambda _, value: histogram.observe(value))

    def _info(self, name: str, text: str, rule: _Rule[dict[str, str]]) -> None:
        info = Info(f"consumer_{name}", text, registry=self._registry)
        self._apply(rule, lambda _, value: info.info(value))

    def _apply(self, rule: _Rule[_V], change: Callable[[_Labels, _V], None]) -> None:
        self._updates[rule.kind].append(lambda event: change(rule.labels(event), rule.value(event)))


class _Registry(CollectorRegistry):
    """Without the `_created` samples: nobody asks when a counter was made."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


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

    def collect(self) -> Iterator[Metric]:
        bounds = [*(str(float(bound)) for bound in _AGE_SECONDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(
            self._name, self._text, buckets=buckets, sum_value=self._sum_ms / 1000
        )
