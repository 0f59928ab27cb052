import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.harness.errors import CannotBeMadeError


@contextmanager
def open_files_allowed(count: int) -> Iterator[None]:
    """Let this process and its children open so many files.

    Any user may raise the soft limit up to the hard one; where that is too low, raises
    CannotBeMadeError.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    except (OSError, ValueError) as error:
        reason = f"{count} open files are needed, the hard limit is {hard}"
        raise CannotBeMadeError(reason) from error
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
