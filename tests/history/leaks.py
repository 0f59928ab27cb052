"""Decides I6: searches what the service and PostgreSQL have put out for marked raw values.

To be searched: rows and exports, stdout and stderr, logs, metrics, PostgreSQL's log, core files;
PostgreSQL's data folder too, because the quarantine's bodies in it are encrypted.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.history.checker import Kind, Violation
from tests.history.marked import Marks

_CHUNK_BYTES = 1 << 22
_LONGEST_MARK_BYTES = 128


def leaks_in(where: str, output: bytes, marks: Marks) -> Iterator[Violation]:
    """One violation for an output that holds marked values; it says where, and not what."""
    yield from _leaks(where, [output], marks)


def leaks_in_file(path: Path, marks: Marks) -> Iterator[Violation]:
    """The same for a file of any size."""
    with path.open("rb") as file:
        yield from _leaks(path.name, iter(lambda: file.read(_CHUNK_BYTES), b""), marks)


def leaks_below(folder: Path, marks: Marks) -> Iterator[Violation]:
    """The same for every file below a folder that does not change meanwhile."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield from leaks_in_file(path, marks)


def _leaks(where: str, chunks: Iterable[bytes], marks: Marks) -> Iterator[Violation]:
    kept, before, count, first = b"", 0, 0, 0
    for chunk in chunks:
        data = kept + chunk
        # What begins in the last bytes may go on in the next chunk, and is looked for there.
        found = marks.found_in(data)
        whole = [start for start in found if start < len(data) - _LONGEST_MARK_BYTES]
        first = first if count or not whole else before + whole[0]
        count += len(whole)
        keep = max(0, len(data) - _LONGEST_MARK_BYTES)
        kept, before = data[keep:], before + keep
    last = marks.found_in(kept)
    first = first if count or not last else before + last[0]
    count += len(last)
    if count:
        yield Violation(Kind.LEAKED, f"{where}, first at byte {first}", count=count)
