"""The logs: what becomes a line, and that values can neither forge nor leak into one."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given, strategies as st

from consumer.errors import DatabaseError
from consumer.messages import Message, Reason, Row
from consumer.telemetry import events as telemetry
from consumer.telemetry.logs import (
    Logger,
    describe,
    harmless,
    log_events,
    make_logger,
    stdlib_logs_to,
)

RAW = "199.172.111.135"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Logger:
    return make_logger(level="debug", form="json", stream=stream)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listen(logger: Logger, clock: Clock) -> telemetry.Listener:
    return log_events(logger, clock)


@pytest.fixture
def lines(stream: io.StringIO) -> Callable[[], list[dict[str, object]]]:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


Lines = Callable[[], list[dict[str, object]]]


def test_a_line_is_one_json_object_with_level_and_utc_time(logger: Logger, lines: Lines) -> None:
    logger.warning("it is so", count=3)
    (line,) = lines()
    assert line["event"] == "it is so"
    assert line["level"] == "warning"
    assert line["count"] == 3
    assert str(line["timestamp"]).endswith("Z")


def test_auto_is_pretty_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        make_logger(level="info", form="auto", stream=stream).info("here", count=3)
    assert not terminal.getvalue().startswith("{")
    assert json.loads(pipe.getvalue())["count"] == 3


def test_lines_below_the_level_are_left_out(stream: io.StringIO) -> None:
    logger = make_logger(level="warning", form="json", stream=stream)
    logger.info("no")
    logger.warning("yes")
    assert json.loads(stream.getvalue())["event"] == "yes"


@pytest.mark.parametrize("form", ["json", "pretty"])
@given(st.text())
def test_no_text_makes_a_second_line_or_a_control_character(form: str, text: str) -> None:
    stream = io.StringIO()
    make_logger(level="info", form=form, stream=stream).info(f"it {text}", value=text, more=[text])
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().removesuffix("\n").isprintable()


def test_colour_codes_line_breaks_and_direction_marks_are_shown_not_sent() -> None:
    assert harmless("a\nb\x1b[31m\u202e\u2028\ud800") == r"a\nb\x1b[31m\u202e\u2028\ud800"


@given(st.text(min_size=501))
def test_a_long_text_is_cut_with_its_length(text: str) -> None:
    cut = cast("str", harmless(text))
    assert cut.endswith(f"… ({len(text)} characters)")
    assert len(cut) < 10 * 500 + 40


def test_collections_are_bounded_and_other_objects_show_as_their_type() -> None:
    assert len(cast("list[object]", harmless(list(range(1000))))) == 50
    assert harmless({"a": [b"raw", object(), 1, None]}) == {
        "a": ["<bytes>", "<object>", 1, None],
    }


def test_messages_and_rows_show_as_their_type_wherever_they_are() -> None:
    message = Message("id", f"handle {RAW}", RAW, 0, 1)
    row = Row(message, (RAW,))
    assert harmless(message) == "<Message>"
    assert harmless(row) == "<Row>"
    assert harmless([message, (row,)]) == ["<Message>", ["<Row>"]]
    assert harmless({"message": message, "rows": [row]}) == {
        "message": "<Message>",
        "rows": ["<Row>"],
    }
    assert RAW not in str(harmless({message: 1, row: 2, RAW.encode(): 3, (message, 1): 4}))


def _fail(error: Exception, _local: str = RAW) -> None:
    raise error


def _raised(error: Exception) -> Exception:
    with pytest.raises(type(error)):
        _fail(error)
    return error


def test_an_exception_shows_its_type_and_frames_but_not_its_text(
    logger: Logger, stream: io.StringIO, lines: Lines
) -> None:
    logger.error("failed", exc_info=_raised(ValueError(RAW)))
    assert RAW not in stream.getvalue()
    error = cast("dict[str, object]", lines()[0]["error"])
    assert error["type"] == "builtins.ValueError"
    assert str(cast("list[str]", error["frames"])[-1]).endswith("_fail")


def test_the_consumers_own_errors_show_their_text() -> None:
    assert describe(DatabaseError("57P01"))["text"] == "database: 57P01"


def test_causes_and_groups_are_described_without_their_texts() -> None:
    cause = _raised(KeyError(RAW))
    group = ExceptionGroup(RAW, [_raised(ValueError(RAW))])
    group.__cause__ = cause
    description = describe(group)
    assert RAW not in json.dumps(description)
    assert "KeyError" in json.dumps(description["cause"])
    assert "ValueError" in json.dumps(description["exceptions"])


def test_a_chain_of_exceptions_without_end_is_cut() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert len(json.dumps(describe(first))) < 2000


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    make_logger(level="info", form="json", stream=FullDisk()).info("here")
    closed = io.StringIO()
    closed.close()
    make_logger(level="info", form="json", stream=closed).info("here")


@pytest.fixture
def routed(logger: Logger) -> Iterator[None]:
    with stdlib_logs_to(logger):
        yield


@pytest.mark.usefixtures("routed")
def test_a_librarys_warning_is_passed_on_without_its_arguments(
    stream: io.StringIO, lines: Lines
) -> None:
    logging.getLogger("aiohttp.server").warning("bad header %r", RAW)
    logging.getLogger("aiohttp.server").info("bad header %r", RAW)
    (line,) = lines()
    assert (line["event"], line["logger"]) == ("bad header %r", "aiohttp.server")
    assert RAW not in stream.getvalue()


@pytest.mark.usefixtures("routed")
async def test_what_asyncio_says_of_lost_exceptions_holds_no_values(
    stream: io.StringIO, lines: Lines
) -> None:
    def fail(_: str) -> None:
        raise ValueError(RAW)

    async def fail_later() -> None:
        fail(RAW)

    loop = asyncio.get_running_loop()
    lost = loop.create_task(fail_later())
    loop.call_soon(fail, RAW)
    await asyncio.wait([lost])
    del lost
    assert RAW not in stream.getvalue()
    assert len(lines()) == 2
    assert all("ValueError" in json.dumps(line["error"]) for line in lines())


@pytest.mark.usefixtures("routed")
def test_an_exception_in_a_finalizer_is_logged_without_its_text(
    stream: io.StringIO, lines: Lines
) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError(RAW)

    Broken()
    assert RAW not in stream.getvalue()
    assert lines()[0]["event"] == "unraisable"


def test_the_standard_librarys_logging_is_restored() -> None:
    handlers, hook = logging.getLogger().handlers[:], sys.unraisablehook
    with stdlib_logs_to(make_logger(level="info", form="json", stream=io.StringIO())):
        pass
    assert (logging.getLogger().handlers, sys.unraisablehook) == (handlers, hook)


EVENTS: list[tuple[telemetry.TelemetryEvent, str, str]] = [
    (telemetry.Received(10, 1, 0.02), "debug", "received"),
    (telemetry.Committed(9, {}, 1, 0.01, (1, 2)), "debug", "committed"),
    (telemetry.Deleted(10), "debug", "deleted"),
    (telemetry.Extended(10), "debug", "extended"),
    (telemetry.PollersChanged(2), "debug", "pollers changed"),
    (telemetry.ReceiptHandlesExpired(1), "warning", "receipt handles lapsed"),
    (
        telemetry.Bisected(4, "23514"),
        "warning",
        "batch halved: a row was refused, or it took too long",
    ),
    (
        telemetry.QueueFailed("ReceiveMessage", "E", refused=False, pause_seconds=1.0),
        "warning",
        "queue call failed",
    ),
    (
        telemetry.QueueFailed("ReceiveMessage", "E", refused=True, pause_seconds=1.0),
        "error",
        "queue call failed",
    ),
    (telemetry.QueueRecovered("ReceiveMessage"), "info", "queue works again"),
    (
        telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1.0),
        "warning",
        "write failed",
    ),
    (telemetry.WriteFailed(10, "42P01", refused=True, pause_seconds=1.0), "error", "write failed"),
    (
        telemetry.KeyRingReadFailed("Decrypt", "ThrottlingException", pause_seconds=1.0),
        "warning",
        "key ring not read",
    ),
    (telemetry.KeyRingLoaded("k1", 2, reloaded=False), "info", "key ring loaded"),
    (telemetry.KeyRingLoaded("k2", 2, reloaded=True), "info", "key ring loaded again"),
    (
        telemetry.KeyRingReloadRejected("key ring: it is not JSON", refused=True),
        "error",
        "key ring not taken over, the one before it stays",
    ),
    (telemetry.Released(3), "info", "given back"),
    (telemetry.Stopping(3), "info", "stopping"),
    (telemetry.Stopped(0), "info", "stopped"),
]


@pytest.mark.parametrize(("event", "level", "text"), EVENTS)
def test_each_event_is_a_line(
    listen: telemetry.Listener, lines: Lines, event: telemetry.TelemetryEvent, level: str, text: str
) -> None:
    listen(event)
    (line,) = lines()
    assert (line["level"], line["event"]) == (level, text)


def test_quarantined_messages_are_a_warning_with_the_reason(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.Committed(0, {Reason.NOT_JSON: 2}, 0, 0.01, (1, 2)))
    line = lines()[-1]
    assert (line["level"], line["event"]) == ("warning", "quarantined")
    assert (line["reason"], line["count"]) == ("not_json", 2)


def test_a_failure_like_the_last_is_logged_once_in_ten_seconds_with_the_number_left_out(
    listen: telemetry.Listener, lines: Lines, clock: Clock
) -> None:
    failed = telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1.0)
    for _ in range(5):
        listen(failed)
    clock.now += 10
    listen(failed)
    assert [line["left_out"] for line in lines()] == [0, 4]


def test_a_failure_of_another_kind_is_logged_at_once(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1.0))
    listen(telemetry.WriteFailed(10, "57P03", refused=False, pause_seconds=1.0))
    assert [line["sqlstate"] for line in lines()] == ["57P01", "57P03"]


def test_ever_new_codes_do_not_grow_the_memory_of_failures(
    listen: telemetry.Listener, lines: Lines
) -> None:
    for number in range(1000):
        listen(
            telemetry.QueueFailed("ReceiveMessage", f"E{number}", refused=False, pause_seconds=1.0)
        )
    assert len(lines()) == 1000


def test_the_first_commit_after_failures_says_that_the_database_works_again(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1.0))
    for _ in range(2):
        listen(telemetry.Committed(10, {}, 0, 0.01, (1,)))
    texts = [line["event"] for line in lines()]
    assert texts == ["write failed", "database works again", "committed", "committed"]
