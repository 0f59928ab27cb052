import asyncio
import io
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner
from rich.console import Console

from consumer.telemetry.totals import Totals
from devkit.demo import demo, run_demo
from tests.waiting import eventually

SAMPLE = Path(__file__).parents[2] / "data" / "login-events.jsonl"
ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")
DEVICE_ID = re.compile(r"\b\d{3}-\d\d-\d{4}\b")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, empty before and, the demo having been here, after."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield folder
        assert list(folder.iterdir()) == []


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


@pytest.mark.usefixtures("temporary")
async def test_the_sample_is_99_rows_and_one_in_quarantine_and_nothing_is_left() -> None:
    before = dict(os.environ)
    output = io.StringIO()
    totals = await run_demo(
        SAMPLE.read_text().splitlines(), Console(file=output, width=200), keep=False
    )
    assert totals == Totals(received=100, written=99, duplicate=0, quarantined=1, deleted=100)
    assert "other_event" in output.getvalue()
    assert dict(os.environ) == before


@pytest.mark.usefixtures("temporary")
def test_the_command_shows_raw_values_only_where_a_token_is_recovered() -> None:
    shown = CliRunner().invoke(demo, ["--messages", "300"], catch_exceptions=False)
    assert shown.exit_code == 0
    for title in ("Messages", "As analysts see them", "most repeated devices", "In quarantine"):
        assert title in shown.output
    masked, recovered = shown.output.split("One token recovered")
    assert not ADDRESS.search(masked)
    assert not DEVICE_ID.search(masked)
    assert len(DEVICE_ID.findall(recovered)) == 1


async def test_what_is_kept_can_be_asked_until_it_is_stopped(temporary: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, width=200)
    await run_demo(SAMPLE.read_text().splitlines(), console, keep=True)
    (pid,) = re.findall(r"kill -INT (\d+)", output.getvalue())
    (password,) = re.findall(r"PGPASSWORD=(\S+) ", output.getvalue())
    (dsn,) = set(re.findall(r"postgresql://\S+", output.getvalue()))
    (recover,) = re.findall(r"\S+ \S+ consumer (recover .*) TOKEN", output.getvalue())
    (ring,) = re.findall(r"KEYRING_FILE=(\S+)", output.getvalue())
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
        assert await connection.fetchval("SELECT count(*) FROM user_logins") == 99
        token = await connection.fetchval(
            "SELECT masked_ip FROM user_logins WHERE masked_ip IS NOT NULL LIMIT 1"
        )
        await connection.close(timeout=10)
        assert mode_of(ring) == 0o600
        assert f":{password}@" in dsn
        recovered = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", *shlex.split(recover), token),
            env=os.environ
            | {"CONSUMER_POSTGRES__DSN": dsn, "CONSUMER_MASKING__KEYRING_FILE": ring},
            stdout=asyncio.subprocess.PIPE,
        )
        assert ADDRESS.search((await recovered.communicate())[0].decode())
    finally:
        os.kill(int(pid), signal.SIGINT)
    await eventually(lambda: not list(temporary.iterdir()))


async def test_two_demos_may_run_at_once() -> None:
    command = (sys.executable, "-m", "devkit.demo", "--messages", "100")
    demos = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    for process in demos:
        output, _ = await process.communicate()
        assert process.returncode == 0
        assert "One token recovered" in output.decode()


def test_an_events_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"\xff\xfe")
    refused = CliRunner().invoke(demo, ["--events", str(tmp_path / "events")])
    assert refused.exit_code == 2
    assert "not UTF-8 text" in refused.output
