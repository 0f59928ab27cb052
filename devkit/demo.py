"""`make demo`: the service at work between a queue and a database that it brings along."""

import asyncio
import os
import random
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click
from pydantic import SecretStr
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from consumer.events.model import duplicates_views_of, table_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.officer.recovery.recoverer import Recoverer
from consumer.postgres.connection import connected
from consumer.postgres.schema import migrate
from consumer.runtime import run_async
from consumer.service import serve
from consumer.settings.endpoints import connection_settings_of, queue_address_of
from consumer.settings.sections import (
    HttpSettings,
    MaskingSettings,
    PostgresSettings,
    Settings,
    SqsSettings,
)
from consumer.sqs.client import open_transport
from consumer.sqs.sending import batches, send_batch
from consumer.telemetry import events as telemetry
from consumer.telemetry.logs import make_logger
from consumer.telemetry.totals import Totals
from devkit.feed import feed
from devkit.postgres import PostgresServer, find_bindir
from devkit.sqs import SqsServer

_SEED = 1
_SEND_SECONDS = 10.0
_LONG_CHARACTERS = 20
_FILE_COLUMNS = 180

_ROWS = "SELECT * FROM user_logins LIMIT 10"
_DEVICES = """
    SELECT masked_device_id, count(*) AS logins, count(DISTINCT masked_ip) AS addresses
    FROM user_logins WHERE masked_device_id IS NOT NULL
    GROUP BY masked_device_id ORDER BY logins DESC, masked_device_id LIMIT 5
"""
_QUARANTINE = """
    SELECT reason, field_name, count(*) AS messages FROM consumer.quarantine
    GROUP BY reason, field_name ORDER BY messages DESC, reason, field_name
"""


@click.command()
@click.option("--messages", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--events",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the lines of this JSONL file instead; empty ones are left out.",
)
@click.option("--keep", is_flag=True, help="Leave the database running, and say how to reach it.")
def demo(messages: int, events: Path | None, *, keep: bool) -> None:
    """Run the main job end to end, on an embedded queue and an embedded PostgreSQL.

    Made-up messages are sent, some of them malformed. Queue and database are gone afterwards.
    """
    bodies = _made_up(messages) if events is None else _lines(events)
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    run_async(run_demo(bodies, console, keep=keep))


async def run_demo(bodies: Sequence[str], console: Console, *, keep: bool) -> Totals:
    """Send `bodies` through the service, and show what became of them."""
    with PostgresServer.start() as postgres, _made_up_credentials():
        ring = KeyRing.generate("k1", secrets.token_bytes)
        ring_path = _write_ring(ring, postgres.folder)
        async with SqsServer() as sqs:
            settings = Settings(
                sqs=SqsSettings(
                    queue_url=sqs.create_queue("login-events"), endpoint_url=sqs.endpoint_url
                ),
                postgres=PostgresSettings(dsn=SecretStr(postgres.dsn())),
                masking=MaskingSettings(keyring_file=ring_path),
                http=HttpSettings(port=0),
            )
            async with connected(connection_settings_of(settings)) as connection:
                await migrate(connection, table_of(UserLogin), duplicates_views_of(UserLogin))
            totals, seconds = await _send_and_consume(settings, bodies, console)
        rate = round(totals.deleted / seconds) if seconds else 0
        _print(console, "Messages", [asdict(totals) | {"a second": rate}])
        await _show(settings, ring, console)
        if keep:
            _leave(postgres, ring_path, console)
    return totals


async def _send_and_consume(
    settings: Settings, bodies: Sequence[str], console: Console
) -> tuple[Totals, float]:
    """Return what the service did, and in how many seconds, from receive to delete."""
    address = queue_address_of(settings, 0)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        sending = progress.add_task("Sending", total=len(bodies))
        async with open_transport(address) as transport:
            for batch in batches(bodies):
                await send_batch(transport, address.queue_url, batch, timeout_seconds=_SEND_SECONDS)
                progress.advance(sending, len(batch))
        consuming = progress.add_task("Consuming", total=len(bodies))
        times: list[float] = []
        clock = asyncio.get_running_loop().time

        def listen(event: telemetry.TelemetryEvent) -> None:
            if isinstance(event, telemetry.Received) and event.count and not times:
                times.append(clock() - event.seconds)
            if isinstance(event, telemetry.Deleted):
                times.append(clock())
                progress.advance(consuming, event.count)

        logger = make_logger(level="error", form="auto", stream=sys.stderr)
        totals = await serve(settings, logger, until_empty=True, listeners=[listen])
    return totals, times[-1] - times[0] if times else 0.0


async def _show(settings: Settings, ring: KeyRing, console: Console) -> None:
    async with connected(connection_settings_of(settings)) as connection:
        rows, devices, quarantine = [
            [dict(record) for record in await connection.fetch(query)]
            for query in (_ROWS, _DEVICES, _QUARANTINE)
        ]
    _print(console, "As analysts see them: rows of user_logins", rows)
    _print(console, "The most repeated devices, by token", devices)
    _print(console, "In quarantine, bodies encrypted", quarantine)
    if devices:
        token = str(devices[0]["masked_device_id"])
        value = Recoverer(UserLogin, ring).recover(token).value
        console.print("\n[bold]One token recovered, with the key")
        console.print(f"{token} is {value}", markup=False, highlight=False, soft_wrap=True)


def _print(console: Console, title: str, records: Sequence[Mapping[str, object]]) -> None:
    console.print(f"\n[bold]{title}" + ("" if records else ": none"))
    if not records:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in records[0]:
        values = [record[name] for record in records]
        is_long = max(len(str(value)) for value in values) > _LONG_CHARACTERS
        # The long ones give way where the terminal is narrow.
        justify: Literal["right", "left"] = "right" if isinstance(values[0], int) else "left"
        table.add_column(name, justify=justify, overflow="ellipsis", no_wrap=not is_long)
    for record in records:
        table.add_row(*(Text("" if value is None else str(value)) for value in record.values()))
    console.print(table)


def _leave(postgres: PostgresServer, ring_path: Path, console: Console) -> None:
    psql = shutil.which("psql") or find_bindir() / "psql"
    pid = postgres.pid
    postgres.leave_running()
    found_by = f"CONSUMER_POSTGRES__DSN={postgres.dsn()} CONSUMER_MASKING__KEYRING_FILE={ring_path}"
    recover = f'{sys.executable} -m consumer recover --reason "to try it" TOKEN'
    console.print("\n[bold]The database is left running")
    # Passwords stand in variables: anyone may list the arguments of a program that runs.
    for what, command in (
        (
            "Connect",
            f"PGPASSWORD={postgres.password} {psql} -h 127.0.0.1 -p {postgres.port} -U postgres",
        ),
        ("Recover a token", f"{found_by} {recover}"),
        ("Stop it, and remove all", f"kill -INT {pid}"),
    ):
        console.print(f"{what}:\n  {command}", markup=False, highlight=False, soft_wrap=True)


def _made_up(count: int) -> list[str]:
    rng = random.Random(_SEED)  # noqa: S311 the same demo each time
    return [message.body for message in feed(rng, count)]


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines: JSON allows U+2028 and its like inside a string.
        return [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise click.BadParameter(f"{path} is not UTF-8 text", param_hint="--events") from None


def _write_ring(ring: KeyRing, folder: Path) -> Path:
    path = folder / "keyring.json"
    path.touch(0o600)
    path.write_text(ring.to_json())
    return path


@contextmanager
def _made_up_credentials() -> Iterator[None]:
    """Set made-up credentials, and no proxy, for the time of the demo.

    What the user has set for AWS is left out: a profile could be broken, or need the network.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "no_proxy": "127.0.0.1",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    demo()
