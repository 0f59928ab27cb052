"""The key ring's file: read, created once, and replaced in one step with a backup of the old."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.errors import KeyRingError

_OWNER_ALONE = 0o600
_NOT_FOR_OTHERS = 0o770
_BACKUP = ".bak"
_UNFINISHED = ".new"


def read_text(path: Path) -> str:
    """Raises KeyRingError."""
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
        return False  # `read_text` says why


def write_new(path: Path, data: bytes) -> None:
    """Create the file, readable for its owner only; raises KeyRingError, also if it exists."""
    path = path.resolve()
    with _folder(path) as folder:
        try:
            unfinished = _write_beside(path, _UNFINISHED, data)
            try:
                # A rename would replace a file that another process has just created.
                os.link(unfinished, path)
            finally:
                unfinished.unlink()
            os.fsync(folder)
        except FileExistsError:
            raise KeyRingError(f"{path}: it exists already, and is not replaced") from None
        except OSError as error:
            raise KeyRingError(f"{path}: {error.strerror}") from None


class RingChange:
    """Changes the file. The folder is locked, so no other command changes it at the same time."""

    def __init__(self, path: Path, folder: int) -> None:
        self._path = path
        self._folder = folder

    def replace(self, data: bytes) -> Path:
        """Replace the file's content in one step; return the path of the backup.

        Owner, group and mode stay, so that those who could read the file still can; only the
        rights of all others are removed. A crash leaves either the old file or the new one.

        Raises:
            KeyRingError: the file was not replaced.
        """
        backup = self._path.with_name(self._path.name + _BACKUP)
        try:
            before = self._path.stat()
            mode = stat.S_IMODE(before.st_mode) & _NOT_FOR_OTHERS
            old = self._path.read_bytes()
            _write_beside(self._path, _BACKUP + _UNFINISHED, old, like=before).replace(backup)
            _write_beside(self._path, _UNFINISHED, data, like=before, mode=mode).replace(self._path)
            os.fsync(self._folder)
        except OSError as error:
            raise KeyRingError(f"{self._path}: {error.strerror}") from None
        return backup


@contextmanager
def ring_change(path: Path) -> Iterator[RingChange]:
    """Lock the file against other commands; raises KeyRingError if another one changes it."""
    path = path.resolve()
    with _folder(path) as folder:
        yield RingChange(path, folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The file's folder, locked; the lock ends with the process at the latest."""
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
    """Write and sync a file beside `path`; replace what a killed command left there."""
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
