"""Structured logs on standard error that values can neither forge nor leak into.

Whoever sends a message chooses its values, and exception texts of the drivers quote them. So every
text is made harmless, other objects show as their type alone, and of an exception that is not the
consumer's own only its type and its frames are logged: no text, no locals, no source.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import PurePath
from typing import Protocol

import structlog
from structlog.typing import EventDict, FilteringBoundLogger as Logger, Processor

from consumer.errors import ConsumerError
from consumer.telemetry import events as telemetry

__all__ = [
    "Logger",
    "describe",
    "escaped",
    "harmless",
    "log_events",
    "make_logger",
    "stdlib_logs_to",
]

_MAX_TEXT_CHARACTERS = 500
_MAX_ITEMS = 50
_MAX_FRAMES = 20
_MAX_NESTED_EXCEPTIONS = 8
_REPEAT_SECONDS = 10.0
_MAX_KNOWN_FAILURES = 256

Description = dict[str, object]


class Stream(Protocol):
    """Where lines go; of a TextIO no more than this is used."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> None:
        """Write out what is held back."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


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

    `level` is debug, info, warning or error; `form` is json, pretty, or auto: pretty where the
    stream is a terminal.
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
            _exceptions_described,
            _values_harmless,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return logger


def harmless(value: object) -> object:
    """Return what of a value may be logged.

    Texts without control, format or separator characters and of bounded length; collections of
    these; of anything else, named tuples among them, its type.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _harmless_text(value)
        case Mapping():
            return {
                _harmless_text(k) if isinstance(k, str) else str(harmless(k)): harmless(v)
                for k, v in list(value.items())[:_MAX_ITEMS]
            }
        case Sequence() if not (
            isinstance(value, bytes | bytearray | memoryview) or _is_named_tuple(value)
        ):
            return [harmless(item) for item in islice(value, _MAX_ITEMS)]
        case _:
            return f"<{type(value).__name__}>"


def _is_named_tuple(value: object) -> bool:
    """A message is one, and what it holds is not for a log."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _harmless_text(text: str) -> str:
    if len(text) > _MAX_TEXT_CHARACTERS:
        text = f"{text[:_MAX_TEXT_CHARACTERS]}… ({len(text)} characters)"
    return escaped(text)


def escaped(text: str) -> str:
    """Return a text with what starts a line or controls a terminal written as an escape."""
    if text.isprintable():
        return str(text)
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def describe(error: BaseException) -> Description:
    """Return an exception's type and frames, and its text if it is the consumer's own."""
    return _describe(error, _MAX_NESTED_EXCEPTIONS)


def _describe(error: BaseException, depth: int) -> Description:
    description: Description = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, ConsumerError):
        description["text"] = str(error)
    frames = traceback.walk_tb(error.__traceback__)
    description["frames"] = [
        f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in frames
    ][-_MAX_FRAMES:]
    if depth == 0:
        return description
    if isinstance(error, BaseExceptionGroup):
        nested = error.exceptions[:_MAX_NESTED_EXCEPTIONS]
        description["exceptions"] = [_describe(each, depth - 1) for each in nested]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        description["cause"] = _describe(cause, depth - 1)
    return description


def _exceptions_described(_logger: object, _method: str, fields: EventDict) -> EventDict:
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["error"] = describe(error)
    return fields


def _values_harmless(_logger: object, _method: str, fields: EventDict) -> EventDict:
    return {key: harmless(value) for key, value in fields.items()}


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

    A record's arguments may hold values, so its template stands for it; asyncio puts arguments and
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


def log_events(logger: Logger, clock: Callable[[], float]) -> telemetry.Listener:
    """Return a listener that logs what the pipeline tells.

    Batches are logged at debug, changes of state at info, failures as warnings, and as errors when
    someone has to act. A failure like the last is logged once in ten seconds (`clock` counts
    seconds) with the number left out.
    """
    return _EventLog(logger, _Throttle(clock, _REPEAT_SECONDS)).listen


class _Throttle:
    """Lets one event of a kind through per interval, and counts the others."""

    def __init__(self, clock: Callable[[], float], interval_seconds: float) -> None:
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._known: dict[object, tuple[float, int]] = {}

    def left_out(self, key: object) -> int | None:
        """Return how many were left out since the last of this kind; None to leave out this one."""
        now = self._clock()
        since, count = self._known.get(key, (None, 0))
        if since is not None and now - since < self._interval_seconds:
            self._known[key] = (since, count + 1)
            return None
        if since is None and len(self._known) >= _MAX_KNOWN_FAILURES:
            self._known.clear()
        self._known[key] = (now, 0)
        return count


_Trouble = (
    telemetry.ReceiptHandlesExpired
    | telemetry.QueueFailed
    | telemetry.QueueRecovered
    | telemetry.WriteFailed
    | telemetry.KeyRingReadFailed
    | telemetry.Bisected
)


class _EventLog:
    def __init__(self, logger: Logger, throttle: _Throttle) -> None:
        self._logger = logger
        self._throttle = throttle
        self._database_failing = False

    def listen(self, event: telemetry.TelemetryEvent) -> None:
        match event:
            case telemetry.Received():
                self._logger.debug(
                    "received",
                    count=event.count,
                    redelivered=event.redelivered,
                    seconds=event.seconds,
                )
            case telemetry.Committed():
                self._committed(event)
            case telemetry.Deleted():
                self._logger.debug("deleted", count=event.count)
            case telemetry.Extended():
                self._logger.debug("extended", count=event.count)
            case telemetry.PollersChanged():
                self._logger.debug("pollers changed", count=event.count)
            case telemetry.Released():
                self._logger.info("given back", count=event.count)
            case telemetry.KeyRingLoaded() | telemetry.KeyRingReloadRejected():
                self._key_ring(event)
            case telemetry.Stopping():
                self._logger.info("stopping", in_flight=event.in_flight)
            case telemetry.Stopped():
                self._logger.info("stopped", released=event.released)
            case _:
                self._trouble(event)

    def _committed(self, event: telemetry.Committed) -> None:
        if self._database_failing:
            self._database_failing = False
            self._logger.info("database works again")
        self._logger.debug(
            "committed", rows=event.rows, duplicates=event.duplicates, seconds=event.seconds
        )
        for reason, count in event.quarantined.items():
            self._throttled("quarantined", reason=reason, count=count)

    def _key_ring(self, event: telemetry.KeyRingLoaded | telemetry.KeyRingReloadRejected) -> None:
        if isinstance(event, telemetry.KeyRingReloadRejected):
            self._logger.error("key ring not taken over, the one before it stays", why=event.why)
            return
        text = "key ring loaded again" if event.reloaded else "key ring loaded"
        self._logger.info(text, primary=event.primary, keys=event.keys)

    def _trouble(self, event: _Trouble) -> None:
        match event:
            case telemetry.ReceiptHandlesExpired():
                self._throttled("receipt handles lapsed", count=event.count)
            case telemetry.Bisected():
                self._throttled(
                    "batch halved: a row was refused, or it took too long",
                    sqlstate=event.sqlstate,
                    count=event.count,
                )
            case telemetry.QueueRecovered():
                self._logger.info("queue works again", operation=event.operation)
            case telemetry.KeyRingReadFailed():
                self._throttled(
                    "key ring not read",
                    operation=event.operation,
                    code=event.code,
                    pause_seconds=round(event.pause_seconds, 3),
                )
            case telemetry.QueueFailed():
                self._throttled(
                    "queue call failed",
                    refused=event.refused,
                    operation=event.operation,
                    code=event.code,
                    pause_seconds=round(event.pause_seconds, 3),
                )
            case telemetry.WriteFailed():
                self._database_failing = True
                self._throttled(
                    "write failed",
                    refused=event.refused,
                    sqlstate=event.sqlstate,
                    count=event.count,
                    pause_seconds=round(event.pause_seconds, 3),
                )

    def _throttled(self, text: str, *, refused: bool = False, **fields: str | float) -> None:
        """Log what is of a kind with all that has the same texts."""
        kind = (text, *(value for value in fields.values() if isinstance(value, str)))
        left_out = self._throttle.left_out(kind)
        if left_out is None:
            return
        log = self._logger.error if refused else self._logger.warning
        log(text, **fields, left_out=left_out)
