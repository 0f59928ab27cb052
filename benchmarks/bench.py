"""A queue, a database and consumers between them: one consumption, measured."""

import base64
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.database import Database
from benchmarks.load import LoadServer
from benchmarks.processes import RunningProcess, Usage
from benchmarks.results import Run
from consumer.masking.key_ring import KeyRing
from devkit.postgres import PostgresServer

_ROOT = Path(__file__).parents[1]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLL_SECONDS = 0.01
_SETTLE_SECONDS = 1.0
# A consumer that hangs must not let the benchmark wait for ever.
_RUN_SECONDS = 600.0
_SIV_KEY_BYTES = 64


@dataclass(frozen=True, slots=True)
class Job:
    """A command that consumes a queue until SIGTERM.

    Where the queue and the database are it learns from its environment, like the consumer.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


CONSUMER = Job((sys.executable, "-m", "consumer", "run"))


class Bench:
    """What all runs stand on."""

    def __init__(self, load: LoadServer, database: Database, folder: Path) -> None:
        self.load = load
        self.database = database
        self.folder = folder
        self._names = (f"bench-{number}" for number in count(1))
        self._key_ring = folder / "keyring.json"
        self._key_ring.touch(0o600)
        self._key_ring.write_text(KeyRing.generate("k1", secrets.token_bytes).to_json())
        self._siv_key = base64.b64encode(secrets.token_bytes(_SIV_KEY_BYTES)).decode()

    def new_queue(self) -> tuple[str, str]:
        """Make an empty queue; return its name and its URL."""
        name = next(self._names)
        return name, self.load.create(name)

    def start(self, job: Job, queue_url: str) -> RunningProcess:
        """Start a consumer."""
        environ = {**self._environ(queue_url), **job.environ}
        return RunningProcess(job.command, environ, self.folder / "consumer.log")

    def consume(
        self,
        job: Job,
        messages: int,
        *,
        processes: int = 1,
        body_bytes: int | None = None,
        keep_tables: bool = False,
    ) -> Run:
        """Let a job consume so many messages that are there at once."""
        if not keep_tables:
            self.database.empty()

        def fill(queue: str) -> float:
            self.load.fill(queue, messages, body_bytes)
            return time.time()

        return self._measured(job, processes, messages, fill)

    def follow(self, job: Job, rate: int, seconds: float) -> Run:
        """Let a job consume messages that come at a steady rate."""
        self.database.empty()

        def send(queue: str) -> float:
            began = time.time()
            self.load.send(queue, rate, seconds)
            return began

        return self._measured(job, 1, round(rate * seconds), send)

    def _measured(
        self, job: Job, processes: int, messages: int, put: Callable[[str], float]
    ) -> Run:
        queue, queue_url = self.new_queue()
        rows_before = self.database.rows()
        with ExitStack() as stack:
            running, start_cpu = self._started(stack, job, queue_url, processes)
            postgres_before = self.database.cpu_seconds()
            self.load.count()
            began = put(queue)
            _until(lambda: self.load.left(queue) == 0, running)
            ended = time.time()
            calls = self.load.count()
            _until(lambda: self.database.rows() == rows_before + messages, running)
            postgres_after = self.database.cpu_seconds()
            usages = [process.end() for process in running]
        return Run(
            messages=messages,
            seconds=ended - began,
            cpu_seconds=sum(usage.cpu_seconds for usage in usages) - start_cpu,
            start_cpu_seconds=start_cpu / processes,
            peak_rss_bytes=max(usage.peak_rss_bytes for usage in usages),
            postgres_cpu_seconds=postgres_after - postgres_before,
            calls=calls,
        )

    def _started(
        self, stack: ExitStack, job: Job, queue_url: str, processes: int
    ) -> tuple[list[RunningProcess], float]:
        """Start processes one after the other; return them, and their CPU so far."""
        running = []
        for _ in range(processes):
            self.load.count()
            running.append(stack.enter_context(self.start(job, queue_url)))
            self.await_receive(running[-1])
        settle()
        return running, sum(process.cpu_seconds() for process in running)

    def await_receive(self, process: RunningProcess) -> float:
        """Wait for the first receive since the last count; return when it came."""
        _until(lambda: self.load.first_receive() is not None, [process])
        received = self.load.first_receive()
        assert received is not None
        return received

    def _environ(self, queue_url: str) -> Mapping[str, str]:
        return {
            "PATH": _PATH,
            "HOME": str(self.folder),
            "PYTHONPATH": str(_ROOT),
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "no_proxy": "127.0.0.1",
            "CONSUMER_SQS__QUEUE_URL": queue_url,
            "CONSUMER_SQS__ENDPOINT_URL": self.load.endpoint_url,
            "CONSUMER_POSTGRES__DSN": self.database.dsn,
            "CONSUMER_MASKING__KEYRING_FILE": str(self._key_ring),
            "CONSUMER_HTTP__PORT": "0",
            "PEER_QUEUE_URL": queue_url,
            "PEER_ENDPOINT_URL": self.load.endpoint_url,
            "PEER_DSN": self.database.dsn,
            "PEER_KEY": self._siv_key,
        }


def _until(condition: Callable[[], bool], running: Sequence[RunningProcess]) -> None:
    """Wait for a condition that the processes bring about."""
    deadline = time.monotonic() + _RUN_SECONDS
    while not condition():
        for process in running:
            process.require_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"a run took longer than {_RUN_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Start the load server and the database, on durable commits."""
    with PostgresServer.start() as postgres, LoadServer() as load:
        yield Bench(load, Database(postgres), postgres.folder)


def settle() -> None:
    """Let a start end: some of its work comes after the first receive."""
    time.sleep(_SETTLE_SECONDS)


def stop_at_once(process: RunningProcess) -> Usage:
    """End a consumer whose open poll is not worth waiting for."""
    return process.end(signal.SIGKILL)


def ages_of(path: Path) -> list[int]:
    """What `observed` has written."""
    ages: list[int] = json.loads(path.read_text())
    return ages
