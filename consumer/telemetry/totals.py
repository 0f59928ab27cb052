"""The totals of a run."""

from dataclasses import dataclass

from consumer.telemetry.events import Committed, Deleted, MessageDamaged, Received, TelemetryEvent


@dataclass(slots=True)
class Totals:
    """Messages since the start; at the end received = written + duplicate + quarantined.

    `damaged` ones are not among the received: they stay in the queue.
    """

    received: int = 0
    written: int = 0
    duplicate: int = 0
    quarantined: int = 0
    deleted: int = 0
    damaged: int = 0

    def listen(self, event: TelemetryEvent) -> None:
        match event:
            case Received():
                self.received += event.count
                self.duplicate += event.redelivered
            case Committed():
                self.written += event.rows
                self.duplicate += event.duplicates
                self.quarantined += sum(event.quarantined.values())
            case Deleted():
                self.deleted += event.count
            case MessageDamaged():
                self.damaged += 1
            case _:
                pass
