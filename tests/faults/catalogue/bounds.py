"""Faults that try the service's bounds: 18, 19 and 25."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.faults.catalogue.fault import Fault
from tests.faults.harness.open_files import open_files_allowed
from tests.faults.harness.rig import DATABASE, Plan, Rig

_MEMORY_BYTES = 200 << 20
_BODY_BYTES = 1 << 20
_BODIES = 400
_CONNECTIONS = 1000
_OTHER_FILES = 200
_SLOW_SECONDS = 0.2


def garbage() -> Iterator[str]:
    """Bodies that have broken parsers, databases and logs elsewhere."""
    good = {
        "user_id": "u",
        "app_version": "1.2.3",
        "device_type": "ios",
        "ip": "192.0.2.1",
        "locale": "RU",
        "device_id": "593-47-5928",
    }
    yield from ("", " ", "null", "true", "0", "[]", "{}", '""', "{", "NaN", "\ufeff{}", "\x00")
    yield "[" * 100_000
    yield '{"a":' * 5_000 + "1" + "}" * 5_000
    yield json.dumps(good)[:-1] + ', "extra": 1e999}'
    yield json.dumps(good | {"extra": "x" * 900_000})
    yield json.dumps(good).replace('"1.2.3"', "1.2")
    yield json.dumps(good) + json.dumps(good)
    yield json.dumps(good)[:-1] + ', "user_id": "another"}'
    for field in good:
        for value in _VALUES:
            yield json.dumps(good | {field: value})
        yield json.dumps({name: value for name, value in good.items() if name != field})
        yield json.dumps(good).replace(f'"{field}": "', f'"{field}": "\\ud800')


_VALUES: tuple[object, ...] = (
    None,
    "",
    True,
    10**400,
    -0.0,
    [],
    {},
    "a\0b",
    "x" * 5_000,
    "\u202e\u0000\U0001f600",
    "'; DROP TABLE user_logins; --",
    "line\nline\r\n\x1b[31m{{}} %s ${HOME}",
    "=cmd|' /C calc'!A0",
    "1.2.3.4.5",
    "::ffff:1.2.3.4%eth0",
    "0x7f.1",
    "\uff11.2.3",
)


async def send_garbage(rig: Rig) -> None:
    with rig.fault("garbage"):
        bodies = list(garbage())
        for start in range(0, len(bodies), 20):
            await rig.queue.send(bodies[start : start + 20])
            await asyncio.sleep(rig.plan.hold_seconds / 40)


async def send_large_bodies(rig: Rig) -> None:
    """While the database is down: a replica may hold no more of them than it is allowed to."""
    padding = "x" * (_BODY_BYTES - 300)
    with rig.fault("1 MiB bodies, database down", down=DATABASE) as span:
        await asyncio.to_thread(rig.postgres.stop, "fast")
        for number in range(_BODIES):
            await rig.queue.send([json.dumps({"foo": number, "padding": padding})])
        await asyncio.sleep(rig.plan.hold_seconds)
        await asyncio.to_thread(rig.postgres.start_again)
    await rig.at_full_rate()
    peak = max(
        bytes_
        for seen in rig.timeline.seen
        if seen.at >= span.began
        for bytes_ in seen.resident_bytes.values()
    )
    if peak > _MEMORY_BYTES:
        rig.problems.append(f"a replica took {peak >> 20} MiB of memory")


@contextmanager
def many_open_files(plan: Plan) -> Iterator[Plan]:
    with open_files_allowed(_CONNECTIONS + _OTHER_FILES):
        yield plan


async def flood_the_port(rig: Rig) -> None:
    """A thousand connections to a replica's HTTP port, each of which says a byte now and then."""
    replica = rig.replicas[0]
    with rig.fault("1,000 slow connections to the HTTP port"):
        threads = _threads(replica.pid)
        async with asyncio.TaskGroup() as clients:
            for _ in range(_CONNECTIONS):
                clients.create_task(_be_slow(replica.port, rig.plan.hold_seconds))
        if _threads(replica.pid) > threads:
            rig.problems.append("the HTTP port started threads")
    if '"ok"' not in await replica.get("/healthz"):
        rig.problems.append("the HTTP port does not answer after the flood")


async def _be_slow(port: int | None, seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        # uvloop raises RuntimeError for a closed transport.
        with suppress(ConnectionError, TimeoutError, RuntimeError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n")
            while asyncio.get_running_loop().time() < deadline and not writer.is_closing():
                writer.write(b"A")
                await writer.drain()
                await asyncio.sleep(_SLOW_SECONDS)
            writer.transport.abort()
        await asyncio.sleep(_SLOW_SECONDS)


def _threads(pid: int) -> int:
    return psutil.Process(pid).num_threads()


FAULTS = (
    Fault(18, "the garbage corpus", send_garbage),
    Fault(19, "1 MiB bodies, database down, 200 MiB of memory", send_large_bodies),
    Fault(25, "slowloris on the HTTP port", flood_the_port, many_open_files),
)
