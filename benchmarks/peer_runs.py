"""The consumer beside others: the equal job on the same queue and table, in alternating runs."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.bench import CONSUMER, Bench, Job
from benchmarks.results import PeerRuns, Peers, Run, this_machine

_FOLDER = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class _Peer:
    """One way to do the job.

    `messages` a run are so many that it takes some seconds; `missing` says what is not installed.
    """

    name: str
    title: str
    job: Job | None
    messages: int
    missing: str = ""


def measure(
    bench: Bench, at: str, say: Callable[[str], None], *, times: int, share: int = 1
) -> Peers:
    """Run each peer so many times, in turns, so that a slow minute befalls all of them alike.

    Each run has one `share`th of the usual messages.
    """
    peers = _peers()
    runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
    for number in range(times):
        for peer in peers:
            if peer.job is not None:
                say(f"run {number + 1}: {peer.name}")
                runs[peer.name].append(bench.consume(peer.job, peer.messages // share))
    return Peers(
        this_machine(bench.database.version(), at),
        [PeerRuns(peer.name, peer.title, runs[peer.name], peer.missing or None) for peer in peers],
    )


def _peers() -> list[_Peer]:
    return [
        _Peer(
            "consumer",
            "this consumer",
            Job(CONSUMER.command, {"CONSUMER_SQS__WAIT_SECONDS": "1"}),
            100_000,
        ),
        _python("floor", "the floor: bare socket, COPY", 100_000, "psycopg"),
        _python("aiobotocore_asyncpg", "aiobotocore + asyncpg, ten by ten", 20_000, "aiobotocore"),
        _python(
            "boto3_psycopg",
            "boto3 + psycopg, one by one as in tutorials",
            4_000,
            "boto3",
            "psycopg",
        ),
        _python("original", "receive one, delete one, CSV, COPY", 4_000, "boto3", "psycopg"),
        _node(),
        _bento(),
    ]


def _python(name: str, title: str, messages: int, *packages: str) -> _Peer:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        return _Peer(name, title, None, messages, f"{' and '.join(missing)} is not installed")
    return _Peer(name, title, Job((sys.executable, "-m", f"benchmarks.peers.{name}")), messages)


def _node() -> _Peer:
    title, node = "Node: sqs-consumer + pg", shutil.which("node")
    if node is None or not (_FOLDER / "node" / "node_modules").is_dir():
        return _Peer("node", title, None, 0, "node or its packages are not installed")
    return _Peer("node", title, Job((node, str(_FOLDER / "node" / "consumer.mjs"))), 20_000)


def _bento() -> _Peer:
    bento = shutil.which("bento")
    if bento is None:
        return _Peer("bento", "Bento", None, 0, "bento is not on PATH")
    return _Peer("bento", "Bento", Job((bento, "-c", str(_FOLDER / "bento.yaml"))), 20_000)
