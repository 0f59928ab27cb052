"""What makes the service unready, and what makes it due for a restart.

Alive: no receive is open past its deadline. A restart helps one that is not alive.
Ready: started, not stopping, and neither the key ring, the queue nor the database fails. A restart
does not help one that is not ready.
"""

from collections.abc import Callable

from consumer.telemetry import events as telemetry

# A message whose extension failed may be deleted before the next try: no recovery would follow.
_EXTEND = "ChangeMessageVisibilityBatch"


class Health:
    """A listener that knows whether the consumer works.

    `poll_is_overdue` says whether a receive is open past its deadline.
    """

    def __init__(self, poll_is_overdue: Callable[[], bool]) -> None:
        self._poll_is_overdue = poll_is_overdue
        self._started = False
        self._stopping = False
        self._failing: dict[str, str] = {}

    def not_alive(self) -> list[str]:
        """Return why a restart is due; empty if none is."""
        return ["a receive is open past its deadline"] if self._poll_is_overdue() else []

    def not_ready(self) -> list[str]:
        """Return the reasons, with codes only; empty if the service is ready."""
        reasons = [] if self._started else ["starting"]
        if self._stopping:
            reasons.append("stopping")
        reasons += (f"{what}: {code}" for what, code in sorted(self._failing.items()))
        return reasons

    def listen(self, event: telemetry.TelemetryEvent) -> None:
        match event:
            case telemetry.Consuming():
                self._started = True
                self._failing.clear()  # all three were reached
            case telemetry.QueueFailed() if event.operation != _EXTEND:
                self._failing[event.operation] = event.code
            case telemetry.QueueRecovered():
                self._failing.pop(event.operation, None)
            case telemetry.WriteFailed() | telemetry.DatabaseUnavailable():
                self._failing["database"] = event.sqlstate
            case telemetry.DatabaseRecovered():
                self._failing.pop("database", None)
            case telemetry.KeyRingReadFailed():
                self._failing["key ring"] = event.code
            case telemetry.KeyRingLoaded():
                self._failing.pop("key ring", None)
            case telemetry.Stopping():
                self._stopping = True
            case _:
                pass
