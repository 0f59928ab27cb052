"""The totals of a run."""

from dataclasses import dataclass

from consumer.telemetry.events import Committed, Deleted, Received, TelemetryEvent


@dataclass(slots=True)
class Totals:
    """Messages since the start; at the end received = written + duplicate + quarantined."""

    received: int = 0
    written: int = 0
    duplicate: int = 0
    quarantined: int = 0
    deleted: int = 0

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
            case _:
                pass
