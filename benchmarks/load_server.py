"""The queue of a benchmark: the SQS test double in a process of its own, which takes commands.

`python -m benchmarks.load_server` prints its endpoint, then answers each line of stdin, a command
as JSON, with a line of stdout. `load.py` has the other end.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from functools import cache
from itertools import cycle, islice
from typing import Annotated, Literal

import uvloop
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from devkit.feed import feed
from devkit.sqs import Delay, Draft, InjectedFault, Request, SqsServer

_SEED = 1
_DISTINCT_BODIES = 10_000
# Of large bodies there are fewer: all of them are kept at once.
_DISTINCT_BYTES = 64 * 1024 * 1024
_PACE_SECONDS = 0.002


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Create(_Command):
    """Make an empty queue; the answer is its URL."""

    do: Literal["create"] = "create"
    queue: str
    visibility_seconds: int = 60


class Fill(_Command):
    """Put so many messages on a queue at once; bodies of `body_bytes`, None as they come."""

    do: Literal["fill"] = "fill"
    queue: str
    messages: int
    body_bytes: int | None = None


class Send(_Command):
    """Send evenly, `rate` messages a second for so many seconds."""

    do: Literal["send"] = "send"
    queue: str
    rate: int
    seconds: float


class FirstReceive(_Command):
    """Answer when the first receive since the last `Count` came, null if none did."""

    do: Literal["first receive"] = "first receive"


class Left(_Command):
    """Answer how many messages of a queue are not deleted yet."""

    do: Literal["left"] = "left"
    queue: str


class Count(_Command):
    """Answer with the calls so far by operation, and count from zero."""

    do: Literal["count"] = "count"


class Slow(_Command):
    """Let every call take so much longer, as a distant server's would."""

    do: Literal["slow"] = "slow"
    seconds: float


Command = Create | Fill | Send | FirstReceive | Left | Count | Slow
Reply = str | float | dict[str, int] | None

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="do")])


class _Load:
    def __init__(self, server: SqsServer) -> None:
        self._server = server
        self._first_receive: float | None = None
        self._delay: InjectedFault | None = None
        self._queues: dict[str, str] = {}
        server.fault_for = self._on_call

    def _on_call(self, request: Request) -> InjectedFault | None:
        if self._first_receive is None and request.operation == "ReceiveMessage":
            self._first_receive = time.time()
        return self._delay

    async def obey(self, command: Command) -> Reply:
        match command:
            case Create(queue=name):
                attributes = {"VisibilityTimeout": str(command.visibility_seconds)}
                return self._server.create_queue(name, attributes)
            case Fill():
                self._fill(command)
            case Send():
                await self._send(command)
            case FirstReceive():
                return self._first_receive
            case Left(queue=name):
                queue = self._server.queue(name)
                return queue.visible + queue.in_flight
            case Count():
                return self._count()
            case Slow(seconds=seconds):
                self._delay = Delay(seconds) if seconds else None
        return None

    def _fill(self, command: Fill) -> None:
        queue = self._server.queue(command.queue)
        for draft in islice(cycle(_drafts(command.body_bytes)), command.messages):
            queue.send(draft)

    async def _send(self, command: Send) -> None:
        queue, drafts = self._server.queue(command.queue), cycle(_drafts(None))
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while sent < command.rate * command.seconds:
            due = int(min(loop.time() - began, command.seconds) * command.rate) - sent
            for draft in islice(drafts, due):
                queue.send(draft)
            sent += due
            await asyncio.sleep(_PACE_SECONDS)

    def _count(self) -> dict[str, int]:
        calls = dict(self._server.calls)
        self._server.calls.clear()
        self._first_receive = None
        return calls


@cache
def _drafts(body_bytes: int | None) -> Sequence[Draft]:
    """Distinct valid events; a property that is no part of the event makes them larger."""
    count = min(_DISTINCT_BODIES, _DISTINCT_BYTES // (body_bytes or 1))
    rng = random.Random(_SEED)  # noqa: S311 the same load each time
    bodies = (message.body for message in feed(rng, count, malformed_share=0))
    return [Draft.from_body(_padded(body, body_bytes or 0)) for body in bodies]


def _padded(body: str, size: int) -> str:
    missing = size - len(body) - len(', "padding": ""')
    return body if missing <= 0 else f'{body[:-1]}, "padding": "{"x" * missing}"}}'


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with SqsServer() as server:
        load = _Load(server)
        print(server.endpoint_url, flush=True)
        while line := await reader.readline():
            answer = await load.obey(_COMMANDS.validate_json(line))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
