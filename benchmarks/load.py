"""The benchmark's hold on its load server."""

import subprocess
import sys
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from benchmarks.load_server import (
    Command,
    Count,
    Create,
    Fill,
    FirstReceive,
    Left,
    Reply,
    Send,
    Slow,
)

_TIME: TypeAdapter[float | None] = TypeAdapter(float | None)
_NUMBER = TypeAdapter(int)
_URL = TypeAdapter(str)
_CALLS = TypeAdapter(dict[str, int])
_ANYTHING: TypeAdapter[Reply] = TypeAdapter(Reply)


class LoadServer:
    """An SQS server in a process of its own; a context manager. Times are since the epoch."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.endpoint_url = self._line().decode().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process as process:
            process.terminate()

    def create(self, queue: str) -> str:
        """Make an empty queue; return its URL."""
        return _URL.validate_json(self._ask(Create(queue=queue)))

    def fill(self, queue: str, messages: int, body_bytes: int | None = None) -> None:
        """Put messages on a queue at once."""
        self._do(Fill(queue=queue, messages=messages, body_bytes=body_bytes))

    def send(self, queue: str, rate: int, seconds: float) -> None:
        """Send evenly, `rate` messages a second."""
        self._do(Send(queue=queue, rate=rate, seconds=seconds))

    def first_receive(self) -> float | None:
        """Return when the first receive since the last `count` came; None if none did."""
        return _TIME.validate_json(self._ask(FirstReceive()))

    def left(self, queue: str) -> int:
        """Return how many messages are not deleted yet."""
        return _NUMBER.validate_json(self._ask(Left(queue=queue)))

    def count(self) -> dict[str, int]:
        """Return the calls by operation since the last time."""
        return _CALLS.validate_json(self._ask(Count()))

    def slow(self, seconds: float) -> None:
        """Let every call take so much longer."""
        self._do(Slow(seconds=seconds))

    def _do(self, command: Command) -> None:
        _ANYTHING.validate_json(self._ask(command))

    def _ask(self, command: Command) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(command.model_dump_json().encode() + b"\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load server has ended; its error stands above")
        return line
