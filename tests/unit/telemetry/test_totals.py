"""The totals of a run."""

from consumer.messages import Reason
from consumer.telemetry import events as telemetry
from consumer.telemetry.totals import Totals


def test_totals_add_up_to_what_was_received() -> None:
    totals = Totals()
    for event in (
        telemetry.Received(10, redelivered=2, seconds=0.1),
        telemetry.Committed(5, {Reason.NOT_JSON: 1, Reason.TOO_LONG: 1}, 1, 0.1, (0,) * 8),
        telemetry.Deleted(8),
        telemetry.MessageDamaged("BodyDamaged"),
        telemetry.Extended(3),
    ):
        totals.listen(event)
    assert totals == Totals(
        received=10, written=5, duplicate=3, quarantined=2, deleted=8, damaged=1
    )
    assert totals.received == totals.written + totals.duplicate + totals.quarantined
