"""Faults of the replicas' own processes: 1, 2, 3, 5, 22, 23 and 26."""

import asyncio
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from consumer.masking.key_ring import KeyRing
from devkit.sqs import DeliverTwice
from tests.faults.catalogue.fault import Fault
from tests.faults.harness.queue_server import Trouble
from tests.faults.harness.replicas import WRAPPED
from tests.faults.harness.rig import Plan, Rig
from tests.faults.replica import EXIT_CODE, POINTS

_KILLS = 6
_STOPS = 4
_RECEIVE = frozenset({"ReceiveMessage"})


async def kill_replicas(rig: Rig) -> None:
    for _ in range(_KILLS):
        replica = rig.rng.choice(rig.replicas)
        with rig.fault(f"kill -9 {replica.name}"):
            replica.kill()
            await asyncio.sleep(rig.plan.hold_seconds / _KILLS)
            replica.start()
            await replica.consuming()


async def stop_replicas(rig: Rig) -> None:
    for _ in range(_STOPS):
        replica = rig.rng.choice(rig.replicas)
        with rig.fault(f"SIGTERM {replica.name}"):
            code = await replica.stopped()
            if code:
                rig.problems.append(f"{replica.name} exited with {code} after SIGTERM")
            replica.start()
            await replica.consuming()


async def exit_between(rig: Rig) -> None:
    """With the other replicas stopped, so that it is the victim who gets the messages."""
    with rig.fault("exits, and nobody else"):
        for replica in rig.replicas:
            await replica.stopped()
        for point in POINTS:
            exit_at = f"{point}:{rig.rng.randrange(1, 4)}"
            victim = rig.replica(point, arguments=WRAPPED, variables={"EXIT_AT": exit_at})
            victim.start()
            code = await victim.ended()
            if code != EXIT_CODE:
                rig.problems.append(f"{point} was not come by: exit code {code}")
        for replica in rig.replicas[: rig.plan.replicas]:
            replica.start()
            await replica.consuming()


async def pause_replica(rig: Rig) -> None:
    """Past the visibility timeout: what it held is others' when it wakes up."""
    replica = rig.replicas[0]
    with rig.fault(f"SIGSTOP {replica.name}"):
        replica.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(rig.plan.visibility_seconds + rig.plan.hold_seconds / 4)
        finally:
            replica.signal(signal.SIGCONT)


@contextmanager
def many_writers(plan: Plan) -> Iterator[Plan]:
    yield replace(plan, settings={**plan.settings, "CONSUMER_FLOW__WRITERS": "4"})


async def deliver_to_all(rig: Rig) -> None:
    """Four writers a replica, and most messages in more than one batch at a time."""
    with rig.fault("overlapping batches"):
        await rig.queue.trouble(Trouble(DeliverTwice(), 0.6, _RECEIVE))
        await asyncio.sleep(rig.plan.hold_seconds)
        await rig.queue.trouble()


async def let_clocks_jump(rig: Rig) -> None:
    """The clocks of two replicas jump to and fro by an hour; the others' do not."""
    jumping = [
        rig.replica(f"jumping-{number}", arguments=WRAPPED, variables={"CLOCK_JUMPS": "1"})
        for number in (1, 2)
    ]
    with rig.fault("clocks jump"):
        for replica in jumping:
            replica.start()
            await replica.consuming()
        for replica in rig.replicas[: rig.plan.replicas]:
            await replica.stopped()
        await asyncio.sleep(rig.plan.hold_seconds)


async def start_with_another_key(rig: Rig) -> None:
    """It must refuse to start, say why, and receive nothing."""
    other = KeyRing.generate("k1", secrets.token_bytes).to_json()
    stranger = rig.replica("stranger", variables={"CONSUMER_MASKING__KEYRING": other})
    with rig.fault("another key under a known name"):
        stranger.start()
        code = await stranger.ended()
    said = stranger.log.read_text()
    if code != 1 or "is not the key that this database knows" not in said or "consuming" in said:
        rig.problems.append(f"a replica with another key was not refused: exit code {code}")
    rig.replicas.remove(stranger)


FAULTS = (
    Fault(1, "kill -9 of random replicas", kill_replicas),
    Fault(2, "SIGTERM again and again", stop_replicas),
    Fault(3, "exit at each point between receive and delete", exit_between),
    Fault(5, "SIGSTOP of a replica past the visibility timeout", pause_replica),
    Fault(22, "four writers with overlapping messages", deliver_to_all, many_writers),
    Fault(23, "clock jumps", let_clocks_jump),
    Fault(26, "a replica with another key", start_with_another_key),
)
