"""A PgBouncer in transaction mode before the database."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests import processes
from tests.waiting import eventually

_NOBODY = 65534


def find_pgbouncer() -> Path | None:
    """The installed program, if there is one."""
    found = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return Path(found) if found else None


@asynccontextmanager
async def running_pgbouncer(
    program: Path, folder: Path, dsn: str, *, connections: int = 4
) -> AsyncIterator[int]:
    """Yield the port on which it listens for the server of a DSN.

    It opens so many connections to the server. As root it runs as nobody, who must be able to read
    `folder`.
    """
    port, target = _free_port(), urlsplit(dsn)
    user = _NOBODY if os.geteuid() == 0 else None  # it does not run as root
    settings = folder / "pgbouncer.ini"
    settings.touch(0o600)
    if user is not None:
        os.chown(settings, user, user)
    settings.write_text(
        "[databases]\n"
        f"* = host=127.0.0.1 port={target.port} user={target.username} password={target.password}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n"
        # By default it asks a server that was down again only after 15 s.
        "server_login_retry = 1\n"
    )
    with (folder / "pgbouncer.log").open("wb") as log:
        process = processes.start(
            [program, "-q", settings],
            folder=folder,
            variables={},
            output=log,
            user=user,
        )
    try:
        await eventually(lambda: _listens(port))
        yield port
    finally:
        processes.end(process)


async def _listens(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
