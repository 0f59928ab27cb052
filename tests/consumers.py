"""The consumer as a process of its own, as those who deploy it start it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from click.testing import CliRunner

from consumer.cli import cli
from consumer.messages import Message
from devkit.sqs import Draft, Queue, SqsServer
from tests.waiting import eventually

QUEUE = "login-events"
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """What is left of a process; the code is negative if a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def counts(self) -> dict[str, float]:
        """The JSON object on the last line of standard output."""
        counts: dict[str, float] = json.loads(self.out.splitlines()[-1])
        return counts


@dataclass
class Running:
    """A process that runs, and what it wrote so far."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def logged(self, event: str) -> dict[str, object]:
        """The first log line of this event, once it is there."""
        await eventually(lambda: bool(self._find(event)), within_seconds=_DEADLINE_SECONDS)
        return self._find(event)

    def _find(self, event: str) -> dict[str, object]:
        for line in self.err:
            if f'"{event}"' in line and (fields := json.loads(line))["event"] == event:
                found: dict[str, object] = fields
                return found
        return {}

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> Ended:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            code = await self.process.wait()
        return Ended(code, "".join(self.out), "".join(self.err))


@dataclass(frozen=True)
class CommandLine:
    """`python -m consumer` in `folder`, with these variables and no other settings."""

    folder: Path
    variables: Mapping[str, str]

    def but(self, **variables: str) -> Self:
        """The same with other variables; an empty one is as good as none."""
        return type(self)(self.folder, {**self.variables, **variables})

    @asynccontextmanager
    async def running(self, *arguments: str, stdin: bytes = b"") -> AsyncIterator[Running]:
        """Start a command; it is killed at the end if it still runs then."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", *arguments),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **self.variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        running = Running(process)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(stdin, process.stdin))
            tasks.create_task(_read(process.stdout, running.out))
            tasks.create_task(_read(process.stderr, running.err))
            try:
                yield running
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a command to its end."""
        async with self.running(*arguments, stdin=stdin) as running:
            await running.ended()
        return await running.ended()

    async def run_here(self, *arguments: str) -> Ended:
        """Run a command to its end in this process and its folder, where no process is the point.

        Python and the libraries take a second to start.
        """
        ended = await asyncio.to_thread(
            CliRunner().invoke, cli, arguments, env=dict(self.variables)
        )
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


async def _feed(text: bytes, stream: asyncio.StreamWriter) -> None:
    stream.write(text)
    stream.close()


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    # PERF401: a reader of the lines sees each as it comes.
    async for line in stream:
        lines.append(line.decode())  # noqa: PERF401


@dataclass(frozen=True)
class Place:
    """A queue, a database and a key ring, and the consumer that is set up for them."""

    sqs: SqsServer
    queue_url: str
    dsn: str
    ring_json: str
    consumer: CommandLine

    @property
    def queue(self) -> Queue:
        return self.sqs.queue(self.queue_url.rpartition("/")[2])

    def send(self, *bodies: str) -> list[Message]:
        """Put messages on the queue, and return all that are there."""
        for body in bodies:
            self.queue.send(Draft.from_body(body))
        return self.messages()

    def messages(self) -> list[Message]:
        """All that is on the queue, hidden or not."""
        return [
            Message(each.message_id, "", each.body, each.sent_ms, len(each.body))
            for each in self.queue.messages()
        ]

    def is_clean(self) -> bool:
        """Whether nothing waits on the queue, and nothing is in flight."""
        return (self.queue.visible, self.queue.in_flight) == (0, 0)


def place(
    sqs: SqsServer,
    dsn: str,
    ring_json: str,
    folder: Path,
    *,
    name: str = QUEUE,
    attributes: Mapping[str, str] | None = None,
) -> Place:
    """Create a queue on a server, and set a consumer up for it."""
    queue_url = sqs.create_queue(name, attributes)
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CONSUMER_SQS__QUEUE_URL": queue_url,
        "CONSUMER_SQS__REGION": "us-east-1",
        "CONSUMER_POSTGRES__DSN": dsn,
        "CONSUMER_MASKING__KEYRING": ring_json,
        "CONSUMER_HTTP__PORT": "0",
        "no_proxy": "127.0.0.1",
    }
    return Place(sqs, queue_url, dsn, ring_json, CommandLine(folder, variables))
