"""Structured logs on standard error: one line an event, as JSON or for a terminal.

Every value goes through redaction.py, so that none can forge a line or leak into one.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Protocol

import structlog
from structlog.typing import EventDict, FilteringBoundLogger as Logger, Processor

from consumer.telemetry.events import Listener, TelemetryEvent
from consumer.telemetry.redaction import describe, redacted

__all__ = ["Logger", "Stream", "log_events", "make_logger", "stdlib_logs_to"]

_MAX_KNOWN_REPEATS = 256
_DECIMALS = 6


class Stream(Protocol):
    """Where lines go: the part of a TextIO that is used."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...


class _Lines:
    """Writes lines to a stream; a closed pipe or a full disk must not stop the service."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


def make_logger(*, level: str, form: str, stream: Stream) -> Logger:
    """Return a logger to `stream`.

    `level` is debug, info, warning or error; `form` is json, pretty, or auto: pretty if the stream
    is a terminal.
    """
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if pretty
        else structlog.processors.JSONRenderer()
    )
    logger: Logger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            _describe_exception,
            _redact_values,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return logger


def _describe_exception(_logger: object, _method: str, line: EventDict) -> EventDict:
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["error"] = describe(error)
    return line


def _redact_values(_logger: object, _method: str, line: EventDict) -> EventDict:
    return {key: redacted(value) for key, value in line.items()}


def log_events(logger: Logger, clock: Callable[[], float], *, repeat_seconds: float) -> Listener:
    """Return a listener that logs every event at its level, with its fields.

    Of throttled events of a kind, one line is logged in `repeat_seconds`, with the number left out.
    `clock` counts seconds.
    """
    bound = logger.bind()
    throttle = _Throttle(clock, repeat_seconds)

    def listen(event: TelemetryEvent) -> None:
        if not bound.is_enabled_for(event.level):
            return
        line = _fields_of(event)
        if event.throttled:
            left_out = throttle.left_out(_kind_of(event, line))
            if left_out is None:
                return
            line["left_out"] = left_out
        bound.log(event.level, event.message, **line)

    return listen


def _fields_of(event: TelemetryEvent) -> dict[str, object]:
    """Return what an event's repr shows; seconds are rounded to microseconds."""
    values = {each.name: getattr(event, each.name) for each in fields(event) if each.repr}
    return {
        name: round(value, _DECIMALS) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _kind_of(event: TelemetryEvent, line: dict[str, object]) -> tuple[str, ...]:
    """Events are of a kind if they have the same message and texts, whatever their numbers."""
    return (event.message, *(value for value in line.values() if isinstance(value, str)))


class _Throttle:
    """Lets one event of a kind through per interval, and counts the others."""

    def __init__(self, clock: Callable[[], float], interval_seconds: float) -> None:
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}

    def left_out(self, kind: tuple[str, ...]) -> int | None:
        """Return how many were left out since the last of this kind; None to leave out this one."""
        now = self._clock()
        since, count = self._known.get(kind, (None, 0))
        if since is not None and now - since < self._interval_seconds:
            self._known[kind] = (since, count + 1)
            return None
        if since is None and len(self._known) >= _MAX_KNOWN_REPEATS:
            self._known.clear()
        self._known[kind] = (now, 0)
        return count


@contextmanager
def stdlib_logs_to(logger: Logger) -> Iterator[None]:
    """Pass on warnings and errors of libraries, and of the interpreter, while the context lasts."""
    root = logging.getLogger()
    handlers, level, unraisable = root.handlers[:], root.level, sys.unraisablehook
    root.handlers[:] = [_Forward(logger)]
    root.setLevel(logging.WARNING)
    sys.unraisablehook = lambda args: logger.error("unraisable", exc_info=args.exc_value)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.unraisablehook = unraisable


class _Forward(logging.Handler):
    """Hands the standard library's records to a structlog logger.

    A record's arguments may hold values, so only its template is logged. asyncio puts arguments and
    exceptions into the template too, in parentheses, angle brackets or on the next line.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        template = str(record.msg)
        for mark in "\n(<":
            template = template.partition(mark)[0]
        log = self._logger.error if record.levelno >= logging.ERROR else self._logger.warning
        log(template.strip() or "library", logger=record.name, exc_info=record.exc_info)
