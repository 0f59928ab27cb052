"""The queue in another process, as the harness asks and commands it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from tests import processes
from tests.faults.harness.queue_server import Feed, Sample, Trouble
from tests.history.steps import Entry, Sent

# Not with -m: what it pickles would be of a module of another name.
_PROGRAM = "from tests.faults.harness.queue_server import main; main()"
_ANSWER_SECONDS = 60.0
_SENT_A_CALL = 50_000

_T = TypeVar("_T")


class RemoteQueue:
    """See QueueServer; `port` is where it listens, `url` what clients call it.

    `standing` are the troubles that there are all the time.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._asking = asyncio.Lock()
        self.port = 0
        self.url = ""
        self.standing: tuple[Trouble, ...] = ()

    async def open(self, visibility_seconds: int, seed: int) -> None:
        """Wait until it listens."""
        self._link.send((visibility_seconds, seed))
        self.port = await self._ask(int, "port")
        self.url = await self._ask(str, "queue_url")

    async def trouble(self, *troubles: Trouble) -> None:
        """Misbehave so from now on; without any, behave."""
        await self._ask(type(None), "trouble", *troubles, *self.standing)

    async def feed(self, feed: Feed) -> None:
        """Begin to send."""
        await self._ask(type(None), "feed", feed)

    async def stop_feeding(self) -> None:
        """Send no more."""
        await self._ask(type(None), "stop_feeding")

    async def send(self, bodies: Sequence[str]) -> None:
        """Send these at once."""
        await self._ask(type(None), "send", bodies)

    async def sample(self) -> Sample:
        """Tell how things stand."""
        return await self._ask(Sample, "sample")

    async def delivered_again(self) -> int:
        """Tell how many messages had been delivered more than once when their delete came."""
        return await self._ask(int, "delivered_again")

    async def sent(self) -> list[Sent]:
        """Tell what was sent, in that order."""
        sent: list[Sent] = []
        while part := await self._ask(list, "sent", len(sent), _SENT_A_CALL):
            sent += part
        return sent

    async def deleted(self) -> list[Entry]:
        """Tell when a delete of each message was first asked for, in that order."""
        return await self._ask(list, "deleted")

    async def _ask(self, kind: type[_T], name: str, *arguments: object) -> _T:
        async with self._asking:
            answer = await asyncio.to_thread(self._exchange, name, arguments)
        assert isinstance(answer, kind)
        return answer

    def _exchange(self, name: str, arguments: tuple[object, ...]) -> object:
        self._link.send((name, arguments))
        if not self._link.poll(_ANSWER_SECONDS):
            raise TimeoutError(f"the queue did not answer to {name} in {_ANSWER_SECONDS} s")
        return self._link.recv()


@asynccontextmanager
async def running_queue(
    folder: Path, *, visibility_seconds: int, seed: int
) -> AsyncIterator[RemoteQueue]:
    """A queue, for as long as the context lasts; what it complains of is in queue.log."""
    ours, theirs = socket.socketpair()
    with (folder / "queue.log").open("wb") as log:
        process = processes.start(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
            folder=Path(__file__).parents[3],
            variables={},
            output=log,
            inherit=[theirs.fileno()],
        )
    theirs.close()
    with Connection(ours.detach()) as link:
        try:
            queue = RemoteQueue(link)
            await queue.open(visibility_seconds, seed)
            yield queue
        finally:
            processes.end(process)
