"""The file of the key ring: read, made once, and replaced in one step with the old one kept."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.errors import KeyRingError

_OWNER_ALONE = 0o600
_NOT_FOR_OTHERS = 0o770
_KEPT = ".bak"
_UNFINISHED = ".new"


def read_text(path: Path) -> str:
    """The text of a file; raises KeyRingError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise KeyRingError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        pass  # raised below: the cause holds what was read
    raise KeyRingError(f"{path}: not UTF-8 text")


def is_open_to_others(path: Path) -> bool:
    """Whether any user of this machine may read or write the file."""
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False  # reading it says why


def write_new(path: Path, data: bytes) -> None:
    """Make the file, for its owner alone; raises KeyRingError, also if there is one already."""
    path = path.resolve()
    with _folder(path) as folder:
        try:
            unfinished = _write_beside(path, _UNFINISHED, data)
            try:
                # Not a rename: that would replace a file that appeared meanwhile.
                os.link(unfinished, path)
            finally:
                unfinished.unlink()
            os.fsync(folder)
        except FileExistsError:
            raise KeyRingError(f"{path}: there is one already, and it is not replaced") from None
        except OSError as error:
            raise KeyRingError(f"{path}: {error.strerror}") from None


class RingChange:
    """A change of a file that nobody else is changing at the same time."""

    def __init__(self, path: Path, folder: int) -> None:
        self._path = path
        self._folder = folder

    def replace(self, data: bytes) -> Path:
        """Put `data` in the file's place in one step; return where the old content is kept.

        Owner, group and mode stay, but for what others might do: whoever read the file before has
        to be able to read it after. A crash leaves either the old file or the new one.

        Raises:
            KeyRingError: it could not be done; the old file is in its place.
        """
        kept = self._path.with_name(self._path.name + _KEPT)
        try:
            before = self._path.stat()
            mode = stat.S_IMODE(before.st_mode) & _NOT_FOR_OTHERS
            old = self._path.read_bytes()
            _write_beside(self._path, _KEPT + _UNFINISHED, old, like=before).replace(kept)
            _write_beside(self._path, _UNFINISHED, data, like=before, mode=mode).replace(self._path)
            os.fsync(self._folder)
        except OSError as error:
            raise KeyRingError(f"{self._path}: {error.strerror}") from None
        return kept


@contextmanager
def ring_change(path: Path) -> Iterator[RingChange]:
    """Keep others from changing the file meanwhile; raises KeyRingError if another is at it."""
    path = path.resolve()
    with _folder(path) as folder:
        yield RingChange(path, folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The file's folder, locked: the lock ends with the process, however that ends."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyRingError(f"{path.parent}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KeyRingError(f"{path}: another command is changing it; try again") from None
        yield folder
    finally:
        os.close(folder)


def _write_beside(
    path: Path,
    suffix: str,
    data: bytes,
    *,
    like: os.stat_result | None = None,
    mode: int = _OWNER_ALONE,
) -> Path:
    """Write and sync a file beside `path`; what a killed command left under its name goes."""
    beside = path.with_name(path.name + suffix)
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(beside, flags, _OWNER_ALONE), "wb") as file:
        if like is not None and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return beside
