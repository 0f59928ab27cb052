"""The logs: what becomes a line, and that no value can forge one."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given, strategies as st

from consumer.messages import Reason
from consumer.telemetry import events as telemetry
from consumer.telemetry.logs import Logger, log_events, make_logger, stdlib_logs_to

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
    return log_events(logger, clock, repeat_seconds=10.0)


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


def test_an_exception_is_logged_without_its_text(
    logger: Logger, stream: io.StringIO, lines: Lines
) -> None:
    logger.error("failed", exc_info=ValueError(RAW))
    assert RAW not in stream.getvalue()
    assert cast("dict[str, object]", lines()[0]["error"])["type"] == "builtins.ValueError"


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


def test_an_event_is_one_line_with_its_level_its_message_and_its_fields(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.QueueFailed("ReceiveMessage", "E", refused=True, pause_seconds=1.23456789))
    (line,) = lines()
    del line["timestamp"]
    assert line == {
        "level": "error",
        "event": "queue call failed",
        "operation": "ReceiveMessage",
        "code": "E",
        "refused": True,
        "pause_seconds": 1.234568,
        "left_out": 0,
    }


def test_an_event_that_the_logs_do_not_know_is_logged_too(
    listen: telemetry.Listener, lines: Lines
) -> None:
    @dataclass(frozen=True, slots=True)
    class MoonRisen(telemetry.TelemetryEvent):
        message = "moon risen"

        phase: str

    listen(MoonRisen("full"))
    (line,) = lines()
    assert (line["event"], line["phase"]) == ("moon risen", "full")


def test_a_field_that_the_repr_leaves_out_is_not_logged(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.Committed(9, {Reason.NOT_JSON: 2}, 1, 0.01, sent_ms=(1, 2)))
    (line,) = lines()
    assert "sent_ms" not in line
    assert (line["rows"], line["quarantined"], line["duplicates"]) == (9, {"not_json": 2}, 1)


def test_events_below_the_level_are_left_out_and_do_not_count_as_repeats(clock: Clock) -> None:
    stream = io.StringIO()
    listen = log_events(
        make_logger(level="error", form="json", stream=stream), clock, repeat_seconds=10.0
    )
    listen(telemetry.Deleted(3))
    for refused in (False, True):
        listen(telemetry.WriteFailed(10, "57P01", refused=refused, pause_seconds=1.0))
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["refused"], line["left_out"]) == (True, 0)


def test_a_failure_like_the_last_is_logged_once_in_ten_seconds_with_the_number_left_out(
    listen: telemetry.Listener, lines: Lines, clock: Clock
) -> None:
    for pause_seconds in range(5):
        listen(telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=pause_seconds))
    clock.now += 10
    listen(telemetry.WriteFailed(20, "57P01", refused=False, pause_seconds=3.0))
    assert [line["left_out"] for line in lines()] == [0, 4]


def test_a_failure_of_another_kind_is_logged_at_once(
    listen: telemetry.Listener, lines: Lines
) -> None:
    listen(telemetry.WriteFailed(10, "57P01", refused=False, pause_seconds=1.0))
    listen(telemetry.WriteFailed(10, "57P03", refused=False, pause_seconds=1.0))
    assert [line["sqlstate"] for line in lines()] == ["57P01", "57P03"]


def test_events_that_are_not_throttled_are_all_logged(
    listen: telemetry.Listener, lines: Lines
) -> None:
    for _ in range(3):
        listen(telemetry.Released(10))
    assert [line["event"] for line in lines()] == ["released"] * 3
    assert all("left_out" not in line for line in lines())


def test_of_ever_new_failures_the_oldest_are_forgotten(
    listen: telemetry.Listener, lines: Lines
) -> None:
    for number in (0, 1, *range(300), 299, 0):
        listen(
            telemetry.QueueFailed("ReceiveMessage", f"E{number}", refused=False, pause_seconds=1.0)
        )
    codes = [line["code"] for line in lines()]
    assert codes == ["E0", "E1", *(f"E{number}" for number in range(2, 300)), "E0"]
