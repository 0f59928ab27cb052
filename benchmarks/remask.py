"""How fast `consumer remask` rewrites a table: `python -m benchmarks.remask [ROWS]`.

Rows have 1,000 per device and 100 per address, both tokens under the old key.
"""

import asyncio
import secrets
import sys
import time
from datetime import date

from consumer.events.model import duplicates_views_of, masks_of, table_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.sealing import BodySeal
from consumer.officer.remask.store import RemaskPlan, RemaskResult, remask
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.schema import migrate
from devkit.postgres import PostgresServer

_ROWS = 1_000_000
_PAGES_A_BATCH = 128


async def _fill(dsn: str, ring: KeyRing, rows: int) -> None:
    masks = masks_of(UserLogin, ring)
    addresses = [
        masks["masked_ip"](f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        for n in range(max(1, rows // 100))
    ]
    devices = [masks["masked_device_id"](f"device {n}") for n in range(max(1, rows // 1000))]
    day = date(2026, 1, 1)
    records = (
        (
            f"user {n}",
            "ios",
            addresses[n * 7919 % len(addresses)],
            devices[n * 104_729 % len(devices)],
            "DE",
            "1.2.3",
            day,
        )
        for n in range(rows)
    )
    async with connected(ConnectionSettings(dsn)) as connection:
        await migrate(connection, table_of(UserLogin), duplicates_views_of(UserLogin))
        await connection.copy_records_to_table("user_logins", records=records)


async def _measure(rows: int) -> tuple[RemaskResult, float]:
    old = KeyRing.generate("k1", secrets.token_bytes)
    new = KeyRing(
        "k2",
        {
            "k1": Key(old.keys["k1"].secret, KeyState.DECRYPT),
            "k2": Key(secrets.token_bytes(32), KeyState.ACTIVE),
        },
    )
    masks = masks_of(UserLogin, new)
    tokens = {name: masks[name].renew for name in ("masked_ip", "masked_device_id")}
    renewal = RemaskPlan("user_logins", "k2", tokens, BodySeal(new).renew)
    with PostgresServer.start() as server:
        await _fill(server.dsn(), old, rows)
        async with connected(ConnectionSettings(server.dsn())) as connection:
            began = time.perf_counter()
            done = await remask(
                connection, renewal, pages_a_batch=_PAGES_A_BATCH, show=lambda _: None
            )
            return done, time.perf_counter() - began


def main() -> None:
    """Measure once and print the rate."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else _ROWS
    done, seconds = asyncio.run(_measure(rows))
    assert done.is_complete
    print(f"{done.rows:,} rows rewritten in {seconds:.1f} s: {done.rows / seconds:,.0f} rows/s")


if __name__ == "__main__":
    main()
