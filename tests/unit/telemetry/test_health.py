"""What makes the service unready, and what makes it due for a restart."""

import pytest

from consumer.telemetry import events as telemetry
from consumer.telemetry.health import Health

EXTEND = "ChangeMessageVisibilityBatch"


@pytest.fixture
def health() -> Health:
    return Health(lambda: False)


@pytest.mark.parametrize(
    ("trouble", "reason", "recovery"),
    [
        (
            telemetry.QueueFailed("ReceiveMessage", "AccessDenied", refused=True, pause_seconds=1),
            "ReceiveMessage: AccessDenied",
            telemetry.QueueRecovered("ReceiveMessage"),
        ),
        (
            telemetry.QueueFailed(
                "DeleteMessageBatch", "TimeoutError", refused=False, pause_seconds=1
            ),
            "DeleteMessageBatch: TimeoutError",
            telemetry.QueueRecovered("DeleteMessageBatch"),
        ),
        (
            telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1),
            "database: 57P01",
            telemetry.DatabaseRecovered(),
        ),
    ],
)
def test_unready_with_the_code_while_something_fails(
    health: Health,
    trouble: telemetry.TelemetryEvent,
    reason: str,
    recovery: telemetry.TelemetryEvent,
) -> None:
    health.listen(telemetry.Consuming(30))
    health.listen(trouble)
    assert health.not_ready() == [reason]
    assert health.not_alive() == []
    health.listen(recovery)
    assert health.not_ready() == []


def test_a_failed_extension_alone_is_no_reason_because_no_recovery_may_follow(
    health: Health,
) -> None:
    health.listen(telemetry.Consuming(30))
    health.listen(telemetry.QueueFailed(EXTEND, "OverLimit", refused=False, pause_seconds=1))
    assert health.not_ready() == []


def test_what_failed_during_the_start_is_a_reason_until_the_start_is_over(health: Health) -> None:
    health.listen(telemetry.QueueFailed("GetQueueAttributes", "E", refused=False, pause_seconds=1))
    health.listen(telemetry.DatabaseUnavailable("57P03", pause_seconds=1))
    assert health.not_ready() == ["starting", "GetQueueAttributes: E", "database: 57P03"]
    health.listen(telemetry.Consuming(30))
    assert health.not_ready() == []


def test_unready_once_it_is_stopping(health: Health) -> None:
    health.listen(telemetry.Consuming(30))
    health.listen(telemetry.Stopping(5))
    assert health.not_ready() == ["stopping"]


def test_a_key_ring_that_is_not_read_is_a_reason_until_it_is_loaded(health: Health) -> None:
    health.listen(telemetry.KeyRingReadFailed("Decrypt", "ThrottlingException", pause_seconds=1))
    assert health.not_ready() == ["starting", "key ring: ThrottlingException"]
    health.listen(telemetry.KeyRingLoaded("k1", 1, reloaded=False))
    assert health.not_ready() == ["starting"]


def test_not_alive_while_a_receive_is_open_past_its_deadline() -> None:
    assert Health(lambda: True).not_alive() == ["a receive is open past its deadline"]
