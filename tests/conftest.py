"""What tests stand on: a PostgreSQL per session, a database per test, fresh key rings."""

import base64
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from devkit.postgres import PostgresServer, find_bindir
from tests.databases import Databases, start_postgres

# Both would judge the machine: how long one example took, and how long making them did.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's PostgreSQL. A test that stops or crashes it takes `own_postgres_server`."""
    with start_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def other_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of another major version; skips where there is none.

    PG_BINDIR_OTHER names its folder of programs.
    """
    bindir = _other_bindir()
    if bindir is None:
        pytest.skip("no second PostgreSQL is installed; PG_BINDIR_OTHER may name one")
    with start_postgres(bindir) as server:
        yield server


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for this test alone."""
    with start_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres_server: PostgresServer) -> Databases:
    return Databases(postgres_server)


@pytest.fixture(scope="session")
def other_databases(other_postgres_server: PostgresServer) -> Databases:
    return Databases(other_postgres_server)


@pytest.fixture(scope="session", params=["databases", "other_databases"], ids=["first", "other"])
def any_databases(request: pytest.FixtureRequest) -> Databases:
    """Runs the test once for each of the two major versions."""
    databases: Databases = request.getfixturevalue(request.param)
    return databases


@pytest.fixture
async def empty_database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of a new, empty database."""
    async with databases.empty() as dsn:
        yield dsn


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of a new database with all tables."""
    async with databases.migrated() as dsn:
        yield dsn


@pytest.fixture
async def any_empty_database(any_databases: Databases) -> AsyncIterator[str]:
    """Like `empty_database`, on each of the two major versions."""
    async with any_databases.empty() as dsn:
        yield dsn


@pytest.fixture
async def any_database(any_databases: Databases) -> AsyncIterator[str]:
    """Like `database`, on each of the two major versions."""
    async with any_databases.migrated() as dsn:
        yield dsn


@pytest.fixture
async def own_database(own_postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Like `database`, on `own_postgres_server`."""
    async with Databases(own_postgres_server).migrated() as dsn:
        yield dsn


@pytest.fixture
def key_ring_json() -> str:
    """A new key ring of one active key, k1."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    ring = {"version": 1, "primary": "k1", "keys": {"k1": {"key": key, "state": "active"}}}
    return json.dumps(ring)


def _other_bindir() -> Path | None:
    if named := os.environ.get("PG_BINDIR_OTHER"):
        return Path(named)
    first = _major_version(find_bindir())
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    others = (path.parent for path in installed if _major_version(path.parent) != first)
    return next(others, None)


def _major_version(bindir: Path) -> str:
    # S603: the program is PostgreSQL's.
    answer = subprocess.run([bindir / "postgres", "--version"], capture_output=True, check=True)  # noqa: S603
    return answer.stdout.decode().split()[2].split(".")[0]
