"""The bounds of a pipeline."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """Counts, bytes and seconds; `visibility_seconds` is the queue's own VisibilityTimeout."""

    visibility_seconds: int
    max_pollers: int
    max_deleters: int
    max_extenders: int
    writers: int
    max_in_flight_messages: int
    max_in_flight_bytes: int
    max_batch_rows: int
    max_batch_bytes: int
    linger_seconds: float
    min_pause_seconds: float
    max_pause_seconds: float
    drain_seconds: float
