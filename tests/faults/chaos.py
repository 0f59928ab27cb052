"""`make chaos`: all faults mixed at random while many messages go through, and a report."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from rich.console import Console

from devkit.sqs import AnswerError, DeliverTwice, Disconnect
from tests.faults.catalogue.database import read_only
from tests.faults.catalogue.queue import REFUSING, UNAVAILABLE
from tests.faults.harness import report, terminal
from tests.faults.harness.errors import CannotBeMadeError
from tests.faults.harness.outcome import Outcome
from tests.faults.harness.proxy import check_packets_can_be_dropped
from tests.faults.harness.queue_server import BringBack, RefuseSome, Trouble
from tests.faults.harness.rig import DATABASE, QUEUE, Plan, Rig, open_rig
from tests.history.checker import Kind

_OTHERS_A_KILL = 0.05
_QUIET_SHARE = 0.05  # of the messages, at the beginning and at the end
_TWICE_SHARE = 0.05  # of the receives
_BACK_SHARE = 0.002  # of the deletes
_SHORT, _LONG = 2.0, 5.0  # seconds
_RECEIVE, _DELETE = frozenset({"ReceiveMessage"}), frozenset({"DeleteMessageBatch"})

Act = Callable[[Rig], Coroutine[object, object, None]]


async def kill(rig: Rig) -> None:
    replica = rig.rng.choice(rig.replicas)
    with rig.fault(f"kill -9 {replica.name}"):
        replica.kill()
        await asyncio.sleep(rig.rng.uniform(0.0, 1.0))
        replica.start()


async def terminate(rig: Rig) -> None:
    replica = rig.rng.choice(rig.replicas)
    with rig.fault(f"SIGTERM {replica.name}"):
        if replica.running:
            starting = not replica.consumes  # before Python has come to handle signals
            if (code := await replica.stopped()) and not starting:
                rig.problems.append(f"{replica.name} exited with {code} after SIGTERM")
        replica.start()


async def pause(rig: Rig) -> None:
    replica = rig.rng.choice(rig.replicas)
    with rig.fault(f"SIGSTOP {replica.name}"):
        replica.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(rig.plan.visibility_seconds + rig.rng.uniform(-_LONG, _LONG))
        finally:
            replica.signal(signal.SIGCONT)


async def crash_database(rig: Rig) -> None:
    with rig.fault("database crash", down=DATABASE):
        await asyncio.to_thread(rig.postgres.crash)
        await _a_while(rig)
        await asyncio.to_thread(rig.postgres.start_again)


async def cut_connections(rig: Rig) -> None:
    network = rig.rng.choice((rig.network_to_queue, rig.network_to_database))
    with rig.fault("connections cut"):
        network.cut()


async def lose_commits(rig: Rig) -> None:
    with rig.fault("COMMIT's answer lost"):
        rig.network_to_database.lose_commits(3)
        await _a_while(rig)
        rig.network_to_database.heal()


async def fail_over(rig: Rig) -> None:
    with rig.fault("read-only", down=DATABASE):
        await read_only(rig.dsn, "on")
        await _a_while(rig)
        await read_only(rig.dsn, "off")


async def silence_database(rig: Rig) -> None:
    with rig.fault("PostgreSQL blackholed", down=DATABASE):
        rig.network_to_database.go_silent()
        await _a_while(rig)
        rig.network_to_database.heal()


async def silence_queue(rig: Rig) -> None:
    with rig.fault("SQS blackholed", down=QUEUE):
        rig.network_to_queue.go_silent()
        await _a_while(rig)
        rig.network_to_queue.heal()


async def half_close_queue(rig: Rig) -> None:
    with rig.fault("SQS half-closed"):
        rig.network_to_queue.half_close()


async def answer_errors(rig: Rig) -> None:
    code = rig.rng.choice((*UNAVAILABLE, *REFUSING))
    with rig.fault(code.shape, down=QUEUE):
        await rig.queue.trouble(Trouble(AnswerError(code)))
        await _a_while(rig)
        await rig.queue.trouble()


async def lose_answers(rig: Rig) -> None:
    with rig.fault("SQS acts and does not answer"):
        await rig.queue.trouble(
            Trouble(Disconnect(after_acting=True), 0.2),
            Trouble(RefuseSome(UNAVAILABLE[0], 0.5), 0.5, _DELETE),
        )
        await _a_while(rig)
        await rig.queue.trouble()


async def _a_while(rig: Rig) -> None:
    await asyncio.sleep(rig.rng.uniform(_SHORT, _LONG))


# What is in the same lane happens one after the other: the faults of one part would spoil each
# other. Named alike, a fault is counted as one.
LANES: Mapping[str, Sequence[Act]] = {
    "processes": (kill, terminate, pause),
    "database": (crash_database, lose_commits, fail_over, silence_database),
    "queue": (cut_connections, silence_queue, half_close_queue, answer_errors, lose_answers),
}


@dataclass(frozen=True)
class Moment:
    """A fault, and how many messages are sent before it."""

    message: int
    act: Act


def drawn(
    rng: random.Random, messages: int, kills: int, crashes: int, cuts: int
) -> Mapping[str, Sequence[Moment]]:
    """When which fault is made, by lane: so many of three kinds, and a share of the others."""
    counts: dict[Act, int] = {kill: kills, crash_database: crashes, cut_connections: cuts}
    others = max(1, round(kills * _OTHERS_A_KILL))
    quiet = round(messages * _QUIET_SHARE)
    lanes: dict[str, Sequence[Moment]] = {}
    for lane, acts in LANES.items():
        moments = [
            Moment(rng.randrange(quiet, messages - quiet), act)
            for act in acts
            for _ in range(counts.get(act, others))
        ]
        lanes[lane] = sorted(moments, key=lambda moment: moment.message)
    return lanes


async def _follow(rig: Rig, moments: Sequence[Moment], made: Counter[str]) -> None:
    for moment in moments:
        await rig.sent(moment.message)
        name = moment.act.__name__
        try:
            await moment.act(rig)
        # BLE001: the report tells of what could not be made; the rest of a long run is worth having
        except Exception as error:  # noqa: BLE001
            rig.problems.append(f"{name} was not made: {type(error).__name__}")
        else:
            made[name] += 1


async def run(
    plan: Plan, lanes: Mapping[str, Sequence[Moment]], console: Console
) -> tuple[Outcome, Mapping[str, int], int]:
    """Send all messages through all faults.

    Return how it ended, how often each fault was made, and how many messages came twice.
    """
    made: Counter[str] = Counter()
    async with open_rig(plan) as rig, terminal.shown(rig, "chaos", console):
        rig.queue.standing = (
            Trouble(DeliverTwice(), _TWICE_SHARE, _RECEIVE),
            Trouble(BringBack(2.0), _BACK_SHARE, _DELETE),
        )
        await rig.queue.trouble()
        await rig.start()
        async with asyncio.TaskGroup() as tasks:
            for moments in lanes.values():
                tasks.create_task(_follow(rig, moments, made))
        await rig.sent(plan.messages)
        for replica in rig.replicas:
            if not replica.running:
                replica.start()
            await replica.consuming()  # SIGTERM ends Python before it handles signals
        result = await rig.finish(data_too=True)
        again = await rig.queue.delivered_again()
    return Outcome("chaos", 0, result, rig.timeline), made, again


_REPORT = """\
# Chaos

{messages:,} messages, {again:.1%} of them delivered more than once and {invalid:.0%} invalid, went
through {replicas} replicas of the service, an SQS server over HTTP and a real PostgreSQL, while all
of these were killed, cut off and lied to at random. Made by

    make chaos MESSAGES={messages} KILLS={kills} CRASHES={crashes} CUTS={cuts} SEED={seed}

The seed draws the messages, and which fault is made when.

## Verdict: {kept}

{counts}

The history checker (`tests/history/`) compares every row, every quarantine row and every entry of
the ledger with what was sent, and every delete with PostgreSQL's own record of when its message was
committed. It searches all logs, the metrics and PostgreSQL's files for the raw values, which are
marked.

## Faults

{faults}

{targets}
- Messages a second: {rate:,.0f} on average over {seconds:,.0f} s, faults and the end included.
- Replicas' resident memory: {memory:.0f} MiB at most.

![Throughput, in flight and faults over time](chaos.svg)
"""


def _report(
    outcome: Outcome, made: Mapping[str, int], plan: Plan, again: int, command: Mapping[str, int]
) -> str:
    result, timeline = outcome.result, outcome.timeline
    assert result is not None
    assert timeline is not None
    sent, seconds = result.verdict.sent, timeline.seen[-1].at
    counts = [f"| {kind} | {result.verdict.count(kind):,} |" for kind in Kind]
    faults = [f"| {name.replace('_', ' ')} | {count:,} |" for name, count in sorted(made.items())]
    memory = max(max(seen.resident_bytes.values(), default=0) for seen in timeline.seen)
    return _REPORT.format(
        **command,
        again=again / sent,
        invalid=plan.invalid_share,
        replicas=plan.replicas,
        kept="every promise kept" if result.kept else outcome.verdict,
        counts="\n".join((f"| {sent:,} sent | |", "|---|--:|", *counts)),
        faults="\n".join(("| fault | times |", "|---|--:|", *faults)),
        targets="\n".join(report.targets([outcome])),
        rate=sent / seconds,
        seconds=seconds,
        memory=memory / (1 << 20),
    )


@click.command()
@click.option("--messages", type=click.IntRange(min=1000), default=20_000, show_default=True)
@click.option("--kills", type=click.IntRange(min=0), default=10, show_default=True)
@click.option(
    "--crashes", type=click.IntRange(min=0), help="Of the database; KILLS / 4 if not set."
)
@click.option("--cuts", type=click.IntRange(min=0), help="Of connections; KILLS / 2 if not set.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--a-second", type=float, default=1000.0, show_default=True, help="The load.")
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build"),
    show_default=True,
    help="The folder that the report goes to.",
)
def main(
    *,
    messages: int,
    kills: int,
    crashes: int | None,
    cuts: int | None,
    seed: int,
    a_second: float,
    folder: Path,
) -> None:
    """Mix all faults at random while messages go through, and tell how the service took them."""
    try:
        check_packets_can_be_dropped()
    except CannotBeMadeError as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    plan = Plan(
        seed=seed,
        a_second=a_second,
        messages=messages,
        visibility_seconds=15,
        look_seconds=0.25,
    )
    command = {
        "messages": messages,
        "kills": kills,
        "crashes": kills // 4 if crashes is None else crashes,
        "cuts": kills // 2 if cuts is None else cuts,
    }
    lanes = drawn(random.Random(seed), **command)  # noqa: S311 reproducible
    outcome, made, again = uvloop.run(run(plan, lanes, console))
    assert outcome.result is not None
    folder.mkdir(parents=True, exist_ok=True)
    text = _report(outcome, made, plan, again, {**command, "seed": seed})
    (folder / "chaos.md").write_text(text)
    report.draw([outcome], folder / "chaos.svg")
    console.print(str(outcome.result.verdict), *outcome.result.problems, sep="\n")
    console.print(f"The report is {folder}/chaos.md")
    sys.exit(not outcome.result.kept)


if __name__ == "__main__":
    main()
