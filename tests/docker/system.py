"""The system that docker-compose.yml describes, brought up in a project of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.docker.engine import CheckError, run, works

_PROJECT = "login-consumer-trial"
_PROMETHEUS = "prom/prometheus:latest"
_TIMEOUT_SECONDS = 30
_SEPARATOR = "\t"

_SERIES = re.compile(r"^(consumer_messages_\w+)(?:\{.*\})? (\S+)$", re.MULTILINE)

# Printed in the replica, because its port is not published.
_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080/metrics", timeout=20).read().decode())
"""


@dataclass(frozen=True)
class Written:
    """How many messages are rows, and how many are in quarantine."""

    rows: int
    quarantined: int

    @property
    def total(self) -> int:
        """All that arrived."""
        return self.rows + self.quarantined


@dataclass(frozen=True)
class QueueCounts:
    """How many messages the queue shows, and how many it hides."""

    visible: int
    in_flight: int


class System:
    """A running Compose project; a context manager that leaves nothing behind.

    It works on a copy of the project's files, so that nobody's secrets and data are touched.
    """

    def __init__(self, root: Path, messages: int) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="docker-test-")
        self.folder = Path(self._temporary.name)
        shutil.copy(root / "docker-compose.yml", self.folder)
        shutil.copytree(root / "deploy", self.folder / "deploy")
        run(sys.executable, "deploy/prepare.py", folder=self.folder)
        self._variables = {
            "COMPOSE_PROJECT_NAME": _PROJECT,
            "MESSAGES": str(messages),
            "QUEUE_PORT": "0",
            "PROMETHEUS_PORT": "0",
        }
        if works("docker", "image", "inspect", _PROMETHEUS):
            # There may be no registry to fetch the release from that is named.
            self._variables["PROMETHEUS_TAG"] = "latest"

    def __enter__(self) -> Self:
        """Remove what a run that was killed may have left."""
        self._remove_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove containers, networks, volumes and the secrets."""
        self._remove_all()
        self._temporary.cleanup()

    def _remove_all(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout=1")

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`."""
        command = ("docker", "compose", *arguments)
        return run(*command, folder=self.folder, variables=self._variables)

    def secret(self, name: str) -> str:
        """What one of the secret files holds."""
        return (self.folder / "secrets" / name).read_text()

    def containers(self, service: str = "") -> Sequence[str]:
        """The ids of a service's containers, stopped ones too; of all services without a name."""
        return self.compose("ps", "--all", "--quiet", *filter(None, [service])).split()

    def exit_codes(self, service: str = "") -> dict[str, int]:
        """By container, how it ended; raises CheckError if one still runs."""
        codes = {}
        for each in self.containers(service):
            state = json.loads(run("docker", "inspect", each))[0]
            if state["State"]["Running"]:
                raise CheckError(f"{state['Name']} still runs")
            codes[state["Name"]] = state["State"]["ExitCode"]
        return codes

    def send(self, bodies: Path) -> subprocess.Popen[bytes]:
        """Begin to send the lines of a file."""
        command = ("docker", "compose", "run", "--rm", "-T", "--no-deps", "--entrypoint=consumer")
        with bodies.open("rb") as lines:
            return subprocess.Popen(
                (*command, "producer", "send", "-"),
                cwd=self.folder,
                env={**os.environ, **self._variables},
                stdin=lines,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def running(self, service: str) -> Sequence[str]:
        """The ids of a service's containers that run."""
        return self.compose("ps", "--quiet", "--status=running", service).split()

    def query(self, sql: str) -> Sequence[Sequence[str]]:
        """A query's rows; a NULL is `\\N`."""
        answer = self.compose(
            *("exec", "-T", "database", "psql", "-X", "-U", "consumer", "-d", "logins"),
            *("-v", "ON_ERROR_STOP=1", "-c", f"COPY ({sql}) TO STDOUT"),
        )
        return [line.split(_SEPARATOR) for line in answer.splitlines()]

    def written(self) -> Written:
        """What is committed."""
        counts = "(SELECT count(*) FROM user_logins), (SELECT count(*) FROM consumer.quarantine)"
        ((rows, quarantined),) = self.query(f"SELECT {counts}")
        return Written(int(rows), int(quarantined))

    def reasons(self) -> Counter[str]:
        """The reasons in the quarantine."""
        found = self.query("SELECT reason, count(*) FROM consumer.quarantine GROUP BY reason")
        return Counter({reason: int(count) for reason, count in found})

    def queue_counts(self) -> QueueCounts:
        """What the queue tells of itself, by the query protocol, which takes no client."""
        form = {
            "Action": "GetQueueAttributes",
            "QueueUrl": "http://queue:9324/000000000000/login-events",
            "AttributeName.1": "All",
        }
        body = urllib.parse.urlencode(form).encode()
        answer = _fetch(f"http://{self._address('queue', 9324)}/", body)
        pairs = dict(re.findall(r"<Name>(\w+)</Name>\s*<Value>([^<]*)</Value>", answer))
        return QueueCounts(
            int(pairs["ApproximateNumberOfMessages"]),
            int(pairs["ApproximateNumberOfMessagesNotVisible"]),
        )

    def prometheus(self, query: str) -> float | None:
        """The value of a query that gives one; None if it gives none."""
        parameters = urllib.parse.urlencode({"query": query})
        address = self._address("prometheus", 9090)
        answer = json.loads(_fetch(f"http://{address}/api/v1/query?{parameters}"))
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    @staticmethod
    def metrics(container: str) -> Counter[str]:
        """What a replica itself tells: by metric, the sum of its series."""
        text = run("docker", "exec", container, "python", "-c", _METRICS)
        sums: Counter[str] = Counter()
        for name, value in _SERIES.findall(text):
            sums[name] += round(float(value))
        return sums

    def _address(self, service: str, port: int) -> str:
        return self.compose("port", service, str(port)).strip()


def _fetch(url: str, body: bytes | None = None) -> str:
    # S310: the address is the engine's own.
    with urllib.request.urlopen(url, body, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
        text: bytes = answer.read()
    return text.decode()
