"""When `consumer drain` ends."""

from collections.abc import Callable

from consumer.telemetry.events import MessageDamaged, Received, TelemetryEvent


class DrainEnd:
    """Calls `end` once the queue is empty: a listener.

    The queue counts as empty after `empty_receives` receives in a row that returned nothing while
    nothing was in flight. Each of them is a long poll, which asks all of SQS's servers. Receives
    that were open at the same time count as one. `clock` counts seconds.
    """

    def __init__(
        self,
        end: Callable[[], object],
        in_flight: Callable[[], int],
        clock: Callable[[], float],
        *,
        empty_receives: int,
    ) -> None:
        self._end = end
        self._in_flight = in_flight
        self._clock = clock
        self._needed = empty_receives
        self._counted = 0
        self._counted_at = float("-inf")

    def listen(self, event: TelemetryEvent) -> None:
        if isinstance(event, MessageDamaged):
            self._counted = 0
            self._counted_at = self._clock()  # so that the receive that returned it does not count
        if not isinstance(event, Received):
            return
        if event.count or self._in_flight():
            self._counted = 0
        elif self._clock() - event.seconds >= self._counted_at:
            self._counted += 1
            self._counted_at = self._clock()
            if self._counted == self._needed:
                self._end()
