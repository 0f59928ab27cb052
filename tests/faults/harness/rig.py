"""A queue, a database, the network before both, and replicas of the service between them."""

import asyncio
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from consumer.events.model import duplicates_views_of, table_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import migrate
from devkit.postgres import FAST_SETTINGS, PostgresServer
from tests.databases import at_port
from tests.faults.harness.judge import Refusal, verdict_of, with_leaks
from tests.faults.harness.proxy import Proxy, is_http_request, is_sql_request
from tests.faults.harness.queue import RemoteQueue, running_queue
from tests.faults.harness.queue_server import Feed
from tests.faults.harness.replicas import SERVICE, Replica, stop_all
from tests.faults.harness.timeline import Seen, Span, Timeline
from tests.history.checker import Verdict
from tests.history.steps import Left
from tests.pgbouncer import running_pgbouncer
from tests.waiting import eventually

QUEUE = "queue_tries"
DATABASE = "database_tries"

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 the launcher uses mkdtemp
_ROOM_BYTES = 4 << 30
_POSTGRES = {**FAST_SETTINGS, "track_commit_timestamp": "on", "max_wal_size": "256MB"}
_STEADY_SECONDS = 60.0
_BACK_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What a run is made of.

    `messages` bounds the feed, which ends earlier when it is asked to. `hold_seconds` is how long a
    fault lasts that may last as long as it likes. `settings` are the service's, as variables,
    `postgres` are PostgreSQL's; `tables` are statements of the table's owner, before anything is
    written. With a `pgbouncer` the database is behind it.
    """

    seed: int = 1
    a_second: float = 300.0
    messages: int = 100_000
    invalid_share: float = 0.02
    replicas: int = 4
    visibility_seconds: int = 10
    hold_seconds: float = 8.0
    look_seconds: float = 0.1
    settings: Mapping[str, str] = field(default_factory=dict)
    postgres: Mapping[str, str] = field(default_factory=dict)
    data_on: Path | None = None
    refusal: Refusal | None = None
    tables: tuple[str, ...] = ()
    pgbouncer: Path | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended; `problems` is what the harness itself saw amiss."""

    verdict: Verdict
    problems: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.kept and not self.problems


@dataclass
class Rig:
    """All that runs. A fault takes the parts in hand; `fault` notes when it began and ended."""

    plan: Plan
    folder: Path
    postgres: PostgresServer
    queue: RemoteQueue
    network_to_queue: Proxy
    network_to_database: Proxy
    ring: KeyRing
    timeline: Timeline
    rng: random.Random
    replicas: list[Replica] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    problems: list[str] = field(default_factory=list)
    _is_over: bool = False

    @property
    def dsn(self) -> str:
        """The database itself, past the network."""
        return self.postgres.dsn()

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def replica(
        self,
        name: str,
        *,
        arguments: tuple[str, ...] = SERVICE,
        variables: Mapping[str, str] | None = None,
    ) -> Replica:
        """One more replica, not started yet."""
        replica = Replica(name, self.folder, {**self.variables(), **(variables or {})}, arguments)
        self.replicas.append(replica)
        return replica

    def variables(self) -> Mapping[str, str]:
        """What a replica is started with."""
        endpoint = f"http://127.0.0.1:{self.network_to_queue.port}"
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CONSUMER_SQS__QUEUE_URL": endpoint + urlsplit(self.queue.url).path,
            "CONSUMER_SQS__REGION": "us-east-1",
            "CONSUMER_SQS__WAIT_SECONDS": "2",  # so that a stop on an empty queue is short
            "CONSUMER_POSTGRES__DSN": at_port(self.dsn, self.network_to_database.port),
            "CONSUMER_MASKING__KEYRING": self.ring.to_json(),
            "CONSUMER_HTTP__PORT": "0",
            "CONSUMER_LOGS__FORMAT": "json",
            "no_proxy": "127.0.0.1",
            **self.plan.settings,
        }

    async def start_replicas(self) -> None:
        """Start the replicas, and wait until they consume."""
        for number in range(self.plan.replicas):
            self.replica(f"replica-{number + 1}").start()
        await asyncio.gather(*(replica.consuming() for replica in self.replicas))

    async def start(self) -> None:
        """Start the replicas and then the feed, and wait until all is at full rate."""
        await self.start_replicas()
        plan = self.plan
        await self.queue.feed(Feed(plan.seed, plan.a_second, plan.messages, plan.invalid_share))
        await self.at_full_rate(within_seconds=_STEADY_SECONDS)

    async def at_full_rate(self, *, within_seconds: float = _BACK_SECONDS) -> None:
        """Wait until messages are deleted as fast as they are sent, from now on.

        That it does not come to that is noted as a problem.
        """
        span = Span("now", self.now(), self.now())

        def is_back() -> bool:
            return self.timeline.seconds_to_be_back(span) is not None

        try:
            await eventually(is_back, within_seconds=within_seconds)
        except AssertionError:
            self.problems.append(f"not at full rate within {within_seconds:.0f} s")

    async def deleted(self, count: int) -> None:
        """Wait until so many messages were deleted."""
        seen = self.timeline.seen
        while not seen or seen[-1].deleted < count:  # noqa: ASYNC110 - it is looked for anyway
            await asyncio.sleep(self.plan.look_seconds)

    async def sent(self, count: int) -> None:
        """Wait until so many messages were sent."""
        seen = self.timeline.seen
        while not seen or seen[-1].sent < count:  # noqa: ASYNC110 - it is looked for anyway
            await asyncio.sleep(self.plan.look_seconds)

    @contextmanager
    def fault(self, name: str, *, down: str | None = None) -> Iterator[Span]:
        """Note a fault for as long as the context lasts; `down` is QUEUE or DATABASE."""
        running = sum(replica.running for replica in self.replicas)
        span = Span(name, self.now(), down=down, replicas=max(1, running))
        self.timeline.spans.append(span)
        try:
            yield span
        finally:
            span.healed = self.now()

    async def wind_down(self) -> None:
        """Send no more, let the queue drain, and stop the replicas."""
        await self.queue.stop_feeding()
        await self._drained()
        await self._save_metrics()
        self.problems += (f"{name} did not end well" for name in await stop_all(self.replicas))
        self._is_over = True
        await self._look()

    async def finish(self, *, data_too: bool = False) -> Result:
        """Wind down, and have it all judged.

        Leaks are looked for in all logs and metrics; `data_too` in all of PostgreSQL's files.
        """
        await self.wind_down()
        last = await self.queue.sample()
        async with connected(ConnectionSettings(self.dsn)) as connection:
            verdict = await verdict_of(
                connection,
                ring=self.ring,
                sent=await self.queue.sent(),
                deleted=await self.queue.deleted(),
                left=Left(last.visible, last.in_flight),
                refusal=self.plan.refusal,
            )
        self.postgres.stop("fast")
        searched = [self.folder, self.postgres.folder if data_too else self.postgres.log_path]
        verdict = await asyncio.to_thread(with_leaks, verdict, self.plan.seed, searched)
        return Result(verdict, tuple(self.problems))

    def kill(self) -> None:
        """Kill every replica that runs."""
        for replica in self.replicas:
            replica.kill()

    async def _drained(self) -> None:
        """Wait until the queue is empty, as long as there is progress."""
        patience = _BACK_SECONDS + self.plan.visibility_seconds
        deleted, since = -1, self.now()
        while self.now() - since < patience:
            sample = await self.queue.sample()
            if sample.visible == sample.in_flight == sample.returning == 0:
                return
            if sample.deleted > deleted:
                deleted, since = sample.deleted, self.now()
            await asyncio.sleep(self.plan.look_seconds)

    async def _save_metrics(self) -> None:
        for replica in self.replicas:
            if replica.running:
                text = await replica.get("/metrics")
                (self.folder / f"{replica.name}.metrics").write_text(text)

    async def watch(self) -> None:
        """Look at everything now and then, until the replicas are stopped."""
        while not self._is_over:
            await self._look()
            await asyncio.sleep(self.plan.look_seconds)

    async def _look(self) -> None:
        sample = await self.queue.sample()
        self.timeline.seen.append(
            Seen(
                at=self.now(),
                sent=sample.sent,
                deleted=sample.deleted,
                visible=sample.visible,
                in_flight=sample.in_flight,
                queue_tries=self.network_to_queue.tries,
                database_tries=self.network_to_database.tries,
                resident_bytes={each.name: each.resident_bytes() for each in self.replicas},
            )
        )


@asynccontextmanager
async def open_rig(plan: Plan) -> AsyncIterator[Rig]:
    """Everything but the replicas runs; nothing is left behind when the context ends."""
    async with AsyncExitStack() as stack:
        folder = _folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = stack.enter_context(_start_postgres(plan))
        async with connected(ConnectionSettings(postgres.dsn())) as connection:
            await migrate(connection, table_of(UserLogin), duplicates_views_of(UserLogin))
            for statement in plan.tables:
                await connection.execute(statement)
        target = postgres.port
        if plan.pgbouncer is not None:
            pooled = running_pgbouncer(plan.pgbouncer, folder, postgres.dsn())
            target = await stack.enter_async_context(pooled)
        queue = await stack.enter_async_context(
            running_queue(folder, visibility_seconds=plan.visibility_seconds, seed=plan.seed)
        )
        rig = Rig(
            plan=plan,
            folder=folder,
            postgres=postgres,
            queue=queue,
            network_to_queue=Proxy(queue.port, is_http_request),
            network_to_database=Proxy(target, is_sql_request),
            ring=KeyRing.generate("k1", secrets.token_bytes),
            timeline=Timeline(plan.a_second),
            rng=random.Random(plan.seed),  # noqa: S311 reproducible
        )
        for network in (rig.network_to_queue, rig.network_to_database):
            await stack.enter_async_context(network.running())
        stack.callback(rig.kill)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(rig.watch()).cancel)
        yield rig


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="consumer-faults-"))
    folder.chmod(0o755)  # PgBouncer does not run as root
    return folder


def _start_postgres(plan: Plan) -> PostgresServer:
    """In memory where there is room."""
    roomy = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM_BYTES
    place = plan.data_on or (_IN_MEMORY if roomy else None)
    return PostgresServer.start(temporary_in=place, settings={**_POSTGRES, **plan.postgres})


async def execute(dsn: str, *statements: str) -> None:
    """Run statements on a connection of their own, each by itself."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=10)
