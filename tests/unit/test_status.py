"""The status line of a command, and a terminal that is gone."""

import errno
import io

from consumer.commands.status import StatusLine


class GoneTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_is_gone_does_not_end_the_command() -> None:
    status = StatusLine(GoneTerminal(), lambda: 0.0)
    status.show("half")
    status.clear()
