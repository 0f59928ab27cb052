"""The faults that are made on the real thing, by number."""

from tests.faults.catalogue import bounds, database, killed, queue
from tests.faults.catalogue.fault import Fault

FAULTS = {
    fault.number: fault
    for fault in sorted(
        (*killed.FAULTS, *database.FAULTS, *queue.FAULTS, *bounds.FAULTS),
        key=lambda fault: fault.number,
    )
}

__all__ = ["FAULTS", "Fault"]
