"""The level and the message of each event."""

from collections.abc import Sequence
from logging import DEBUG, ERROR, INFO, WARNING

import pytest

from consumer.messages import Reason
from consumer.telemetry import events as telemetry

EVENTS: Sequence[tuple[telemetry.TelemetryEvent, int, str]] = [
    (telemetry.ConfigurationWarning("do it"), WARNING, "configuration warning"),
    (telemetry.Listening("127.0.0.1", 8080), INFO, "listening"),
    (telemetry.Consuming(30), INFO, "consuming"),
    (telemetry.Stopping(3), INFO, "stopping"),
    (telemetry.Stopped(0), INFO, "stopped"),
    (telemetry.PollersChanged(2), DEBUG, "pollers changed"),
    (telemetry.Received(10, 1, 0.02), DEBUG, "received"),
    (telemetry.MessageDamaged("BodyDamaged"), WARNING, "damaged message left in the queue"),
    (telemetry.Committed(9, {}, 1, 0.01, (1, 2)), DEBUG, "committed"),
    (telemetry.MessagesQuarantined(Reason.NOT_JSON, 2), WARNING, "messages quarantined"),
    (telemetry.Deleted(10), DEBUG, "deleted"),
    (telemetry.Extended(10), DEBUG, "visibility extended"),
    (telemetry.ReceiptHandlesExpired(1), WARNING, "receipt handles expired"),
    (telemetry.Released(3), INFO, "released"),
    (telemetry.QueueFailed("A", "E", refused=False, pause_seconds=1), WARNING, "queue call failed"),
    (telemetry.QueueFailed("A", "E", refused=True, pause_seconds=1), ERROR, "queue call failed"),
    (telemetry.QueueRecovered("ReceiveMessage"), INFO, "queue recovered"),
    (telemetry.DatabaseUnavailable("08006", 1.0), WARNING, "database unavailable"),
    (telemetry.WriteFailed(9, "57P01", refused=False, pause_seconds=1), WARNING, "write failed"),
    (telemetry.WriteFailed(9, "42P01", refused=True, pause_seconds=1), ERROR, "write failed"),
    (telemetry.DatabaseRecovered(), INFO, "database recovered"),
    (telemetry.Bisected(4, "23514"), WARNING, "batch bisected"),
    (telemetry.KeyRingReadFailed("Decrypt", "E", 1.0), WARNING, "key ring read failed"),
    (telemetry.KeyRingLoaded("k1", 2, reloaded=False), INFO, "key ring loaded"),
    (telemetry.KeyRingLoaded("k2", 2, reloaded=True), INFO, "key ring reloaded"),
    (
        telemetry.KeyRingReloadRejected("key ring: it is not JSON", refused=True),
        ERROR,
        "key ring reload rejected, keeping the current one",
    ),
    (telemetry.LedgerPruned(1), INFO, "ledger pruned"),
    (telemetry.LedgerPruneFailed("42501"), WARNING, "ledger prune failed"),
]


@pytest.mark.parametrize(("event", "level", "message"), EVENTS)
def test_an_event_has_a_level_and_a_message(
    event: telemetry.TelemetryEvent, level: int, message: str
) -> None:
    assert (event.level, event.message) == (level, message)


def test_every_event_is_in_the_list_above() -> None:
    events = {
        each
        for each in vars(telemetry).values()
        if isinstance(each, type) and issubclass(each, telemetry.TelemetryEvent)
    }
    assert {type(event) for event, _, _ in EVENTS} == events - {telemetry.TelemetryEvent}


def test_a_listener_to_all_passes_each_event_on_in_order() -> None:
    heard: list[tuple[str, telemetry.TelemetryEvent]] = []
    emit = telemetry.to_all(
        lambda event: heard.append(("first", event)), lambda event: heard.append(("second", event))
    )
    emit(telemetry.Deleted(1))
    assert heard == [("first", telemetry.Deleted(1)), ("second", telemetry.Deleted(1))]
