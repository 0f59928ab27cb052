"""Faults of PostgreSQL and of the way to it: 4, 6 to 10, 17, 20, 21, 24 and 27."""

import asyncio
import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg

from consumer.messages import Row
from tests.faults.catalogue.fault import Fault, dropped_packets
from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.judge import Refusal
from tests.faults.harness.rig import DATABASE, QUEUE, Plan, Rig, execute
from tests.pgbouncer import find_pgbouncer

_COMMITS = 12
_CONSTRAINT = "no_such_version"
_POISON = "9.19."
_DISK_BYTES = 400 << 20
_LOCK = "LOCK TABLE user_logins IN ACCESS EXCLUSIVE MODE"
_OURS = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'login-consumer' AND pid <> pg_backend_pid() ORDER BY pid
"""


async def lose_commits(rig: Rig) -> None:
    with rig.fault("COMMIT's answer lost"):
        for _ in range(_COMMITS):
            rig.network_to_database.lose_commits(1)
            await asyncio.sleep(rig.plan.hold_seconds / _COMMITS)
        rig.network_to_database.heal()
    if not rig.network_to_database.commits_lost:
        rig.problems.append("no answer to a COMMIT was lost")


async def stop_backend(rig: Rig) -> None:
    """Longer than a statement may take; what it has begun it ends when it goes on."""
    connection = await asyncpg.connect(rig.dsn, timeout=10)
    pids = [row["pid"] for row in await connection.fetch(_OURS)]
    await connection.close(timeout=10)
    pid = rig.rng.choice(pids)
    with rig.fault("SIGSTOP of a backend"):
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(rig.plan.hold_seconds * 1.5)
        finally:
            os.kill(pid, signal.SIGCONT)


async def stop_database(rig: Rig) -> None:
    with rig.fault("pg_ctl stop -m immediate", down=DATABASE):
        await asyncio.to_thread(rig.postgres.stop, "immediate")
        await asyncio.sleep(rig.plan.hold_seconds)
        await asyncio.to_thread(rig.postgres.start_again)


async def crash_database(rig: Rig) -> None:
    with rig.fault("kill -9 of the postmaster", down=DATABASE):
        await asyncio.to_thread(rig.postgres.crash)
        await asyncio.sleep(rig.plan.hold_seconds / 2)
        await asyncio.to_thread(rig.postgres.start_again)


async def fail_over(rig: Rig) -> None:
    with rig.fault("read-only, as after a failover", down=DATABASE):
        await read_only(rig.dsn, "on")
        await asyncio.sleep(rig.plan.hold_seconds)
        await read_only(rig.dsn, "off")


async def read_only(dsn: str, value: str) -> None:
    await execute(
        dsn,
        "SET default_transaction_read_only = off",
        f"ALTER SYSTEM SET default_transaction_read_only = {value}",
        "SELECT pg_reload_conf()",
    )


async def silence_database(rig: Rig) -> None:
    with rig.fault("PostgreSQL blackholed", down=DATABASE):
        rig.network_to_database.go_silent()
        await asyncio.sleep(rig.plan.hold_seconds)
        rig.network_to_database.heal()


@contextmanager
def a_constraint(plan: Plan) -> Iterator[Plan]:
    """One message in 200 is of a version that the table's owner does not want."""
    check = f"CHECK (app_version NOT LIKE '{_POISON}%')"
    yield replace(
        plan,
        tables=(f"ALTER TABLE user_logins ADD CONSTRAINT {_CONSTRAINT} {check}",),
        refusal=Refusal(_CONSTRAINT, _is_poison),
    )


def _is_poison(row: Row) -> bool:
    return any(isinstance(value, str) and value.startswith(_POISON) for value in row.values)


async def write_poison(rig: Rig) -> None:
    with rig.fault("rows that only PostgreSQL refuses"):
        await asyncio.sleep(rig.plan.hold_seconds)


@contextmanager
def a_small_disk(plan: Plan) -> Iterator[Plan]:
    if os.geteuid() != 0:
        raise CannotBeMadeError("only root can mount a small disk")
    folder = Path(tempfile.mkdtemp(prefix="consumer-disk-"))
    options = f"size={_DISK_BYTES},mode=0755"
    try:
        if _run("mount", "-t", "tmpfs", "-o", options, "consumer-disk", str(folder)):
            raise CannotBeMadeError("this machine does not let root mount a small disk")
        try:
            yield replace(plan, data_on=folder, postgres={"max_wal_size": "48MB"})
        finally:
            _run("umount", "--lazy", str(folder))
    finally:
        folder.rmdir()


def _run(*arguments: str) -> int:
    # S603: the system's programs, our arguments.
    return subprocess.run(arguments, capture_output=True, check=False).returncode  # noqa: S603


async def fill_the_disk(rig: Rig) -> None:
    assert rig.plan.data_on is not None
    ballast = rig.plan.data_on / "ballast"
    with rig.fault("disk full", down=DATABASE):
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(rig.plan.hold_seconds)
        ballast.unlink()
        # Without room for its log PostgreSQL ends itself, and it is for others to start it again.
        await asyncio.to_thread(rig.postgres.start_again)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


async def lock_table(rig: Rig) -> None:
    """For longer than a statement may take: each is ended by its timeout and run again."""
    with rig.fault("ACCESS EXCLUSIVE lock", down=DATABASE):
        async with _locked(rig.dsn):
            await asyncio.sleep(rig.plan.hold_seconds * 7.5)


@asynccontextmanager
async def _locked(dsn: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(_LOCK)
            yield
    finally:
        await connection.close(timeout=10)


async def forget_connections(rig: Rig) -> None:
    """As a load balancer does: what is sent on them is answered by nobody. New ones work."""
    with rig.fault("connections to PostgreSQL dropped without a word", down=DATABASE):
        rig.network_to_database.go_deaf()
    await rig.at_full_rate()
    with rig.fault("connections to SQS dropped without a word", down=QUEUE):
        rig.network_to_queue.go_deaf()


@contextmanager
def a_pooler(plan: Plan) -> Iterator[Plan]:
    pgbouncer = find_pgbouncer()
    if pgbouncer is None:
        raise CannotBeMadeError("pgbouncer is not installed")
    settings = {**plan.settings, "CONSUMER_POSTGRES__STATEMENT_CACHE_SIZE": "0"}
    yield replace(plan, pgbouncer=pgbouncer, settings=settings)


async def crash_behind_pgbouncer(rig: Rig) -> None:
    with rig.fault("kill -9 of the postmaster behind PgBouncer", down=DATABASE):
        await asyncio.to_thread(rig.postgres.crash)
        await asyncio.sleep(rig.plan.hold_seconds / 2)
        await asyncio.to_thread(rig.postgres.start_again)


FAULTS = (
    Fault(4, "COMMIT's answer lost", lose_commits),
    Fault(6, "SIGSTOP of a PostgreSQL backend", stop_backend),
    Fault(7, "PostgreSQL stopped at once, and started", stop_database),
    Fault(8, "kill -9 of the postmaster", crash_database),
    Fault(9, "failover to read-only, and back", fail_over),
    Fault(10, "PostgreSQL blackholed", silence_database, dropped_packets),
    Fault(17, "rows that only PostgreSQL refuses", write_poison, a_constraint),
    Fault(20, "disk full", fill_the_disk, a_small_disk),
    Fault(21, "ACCESS EXCLUSIVE lock for a minute", lock_table),
    Fault(24, "connections dropped without a word", forget_connections, dropped_packets),
    Fault(27, "PgBouncer in transaction mode", crash_behind_pgbouncer, a_pooler),
)
