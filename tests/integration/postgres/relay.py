"""A TCP relay that can go silent, as a network does: nothing arrives, nothing is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.databases import at_port


class Relay:
    """Passes bytes between its clients and the server until it is to be silent."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._passing = asyncio.Event()
        self._answering = asyncio.Event()
        self.speak()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.dsn = ""

    def go_silent(self) -> None:
        """Pass nothing on in either direction; open no more links to the server."""
        self._passing.clear()

    def swallow_answers(self) -> None:
        """Pass on what clients send, and nothing of what the server says."""
        self._answering.clear()

    def cut(self) -> None:
        """Close every link, in both directions."""
        for task in self._tasks:
            task.cancel()

    def speak(self) -> None:
        self._passing.set()
        self._answering.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.dsn = at_port(self._target.geturl(), port)
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await self._passing.wait()
            upstream = await asyncio.open_connection(self._target.hostname, self._target.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream[1], self._passing))
                group.create_task(self._pump(upstream[0], writer, self._answering))
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._passing.wait()
                await gate.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
