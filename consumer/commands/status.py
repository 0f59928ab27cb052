"""A status line on a terminal."""

import io
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

_REFRESH_SECONDS = 0.1
_BAR_CHARACTERS = 30
_CLEAR = "\r\x1b[K"


class StatusLine(io.TextIOBase):
    """A line that is rewritten in place, below what else is written here; only on a terminal.

    `clock` counts seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._text = ""
        self._shown_at: float | None = None

    def isatty(self) -> bool:
        """Tell whether anybody watches."""
        return self._stream.isatty()

    def show(self, text: str) -> None:
        """Replace the line, ten times a second at most."""
        now = self._clock()
        is_early = self._shown_at is not None and now - self._shown_at < _REFRESH_SECONDS
        if is_early or not self.isatty():
            return
        self._shown_at, self._text = now, text
        self._write_line(text)

    def write(self, text: str) -> int:
        """Write above the line."""
        self._stream.write(f"{_CLEAR}{text}{self._text}" if self._text else text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        if not self._stream.closed:
            self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._text:
            self._text = ""
            self._write_line("")

    def _write_line(self, text: str) -> None:
        # A terminal that is gone must not stop the work.
        with suppress(OSError, ValueError):
            self._stream.write(_CLEAR + text)
            self._stream.flush()


def bar(done: int, total: int) -> str:
    """Return a bar with both numbers; `total` may be a guess that turns out too small."""
    total = max(total, done, 1)
    filled = _BAR_CHARACTERS * done // total
    return f"[{'#' * filled}{'-' * (_BAR_CHARACTERS - filled)}] {done:,} of {total:,}"
