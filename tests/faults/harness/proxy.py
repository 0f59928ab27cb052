"""The network between the service and a server: it can go silent, slow, deaf, or be cut."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from tests.faults.harness.errors import CannotBeMadeError

_CHUNK_BYTES = 1 << 16
_IP_MINTTL = 21  # ip(7)
_HIGHEST_TTL = 255
_SLOW_BYTE_SECONDS = 1.0
_SYNC = b"S\x00\x00\x00\x04"  # PostgreSQL documentation, "Message Formats"
_READY = b"Z\x00\x00\x00\x05I"
_WRITTEN = b"SELECT 1\x00"  # the tag of the statement that writes a batch


def is_sql_request(data: bytes) -> bool:
    """Whether a client of PostgreSQL ends a request here."""
    return data.endswith(_SYNC) or data.startswith(b"Q")


def is_http_request(data: bytes) -> bool:
    """Whether a client of SQS begins a request here."""
    return data.startswith(b"POST ")


def is_commit(data: bytes) -> bool:
    """Whether PostgreSQL says here that a batch is committed."""
    return data.endswith(_READY) and _WRITTEN in data


@dataclass(eq=False)
class _Link:
    """One client's connection and ours to the server."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    deaf: bool = False

    def abort(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None:
                writer.transport.abort()

    def socket(self) -> socket.socket:
        link: socket.socket = self.near.get_extra_info("socket")
        return link


class Proxy:
    """Passes bytes on to 127.0.0.1:`target`; `accepted` and `requests` count what clients try.

    `is_request` tells a request from the bytes that a client sent.
    """

    def __init__(self, target: int, is_request: Callable[[bytes], bool]) -> None:
        self.accepted = 0
        self.requests = 0
        self.commits_lost = 0
        self.port = 0
        self._target = target
        self._is_request = is_request
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._slow = False
        self._lose_commits = 0
        self._listener: asyncio.Server | None = None

    @property
    def tries(self) -> int:
        """How often clients asked for something: connections and requests."""
        return self.accepted + self.requests

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen while the context lasts."""
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=_CHUNK_BYTES
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def go_silent(self) -> None:
        """Lose every packet from now on, as a firewall that drops: nothing is refused.

        Raises CannotBeMadeError.
        """
        self._open.clear()
        for sock in self._sockets():
            _drop_packets(sock)

    def go_deaf(self) -> None:
        """Lose every packet of the open connections; new ones work.

        Raises CannotBeMadeError.
        """
        for link in self._open_links():
            link.deaf = True
            _drop_packets(link.socket())

    def go_slow(self) -> None:
        """Pass on one byte a second of what the server says."""
        self._slow = True

    def half_close(self) -> None:
        """Tell the clients that the server says no more, on the connections that there are."""
        for link in self._open_links():
            link.near.write_eof()
            link.deaf = True

    def cut(self) -> int:
        """Reset the connections that there are, and return how many."""
        links = self._open_links()
        for link in links:
            link.abort()
        return len(links)

    def lose_commits(self, count: int) -> None:
        """Cut the connections on which the next `count` batches are said to be committed."""
        self._lose_commits = count

    def heal(self) -> None:
        """Pass on all again, but what deaf connections miss is lost for good."""
        self._slow = False
        self._lose_commits = 0
        if self._open.is_set():
            return
        self._open.set()
        for sock in self._sockets():
            _accept_packets(sock)

    def _sockets(self) -> list[socket.socket]:
        assert self._listener is not None
        listening = list(self._listener.sockets)
        return [*listening, *(link.socket() for link in self._open_links() if not link.deaf)]

    def _open_links(self) -> list[_Link]:
        return [link for link in self._links if not link.near.is_closing()]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio complains of those that it made and that are cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._open.wait()
            far_reader, link.far = await asyncio.open_connection(
                "127.0.0.1", self._target, limit=_CHUNK_BYTES
            )
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_out(link, reader, link.far))
                pumps.create_task(self._pump_back(link, far_reader, writer))
        except* OSError:
            pass  # the server is down, or either side is gone
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump_out(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            self.requests += self._is_request(data)
            await self._open.wait()
            if not link.deaf:
                await _write(writer, data)
        link.abort()

    async def _pump_back(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._open.wait()
            if self._lose_commits and is_commit(data):
                self._lose_commits -= 1
                self.commits_lost += 1
                break
            if link.deaf:
                continue
            await self._send(data, writer)
        if link.deaf:
            await asyncio.Event().wait()  # its end is not reported either
        if data:
            link.abort()
        else:
            writer.close()
            await writer.wait_closed()
            link.abort()

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while self._slow and data:
            await _write(writer, data[:1])
            data = data[1:]
            await asyncio.sleep(_SLOW_BYTE_SECONDS)
        await _write(writer, data)


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():  # uvloop raises RuntimeError then
        raise ConnectionResetError
    writer.write(data)
    await writer.drain()


def check_packets_can_be_dropped() -> None:
    """Raise CannotBeMadeError where they cannot."""
    with socket.socket() as sock:
        _drop_packets(sock)


def _drop_packets(sock: socket.socket) -> None:
    """Have the kernel drop what arrives for a socket, so that nothing is acknowledged.

    The socket demands a TTL that no packet on this machine has; that needs no privilege.
    """
    if sys.platform != "linux":
        raise CannotBeMadeError("only Linux can drop the packets of a socket")
    if sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) >= _HIGHEST_TTL:
        raise CannotBeMadeError("packets cannot be dropped: their TTL is the highest there is")
    try:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _HIGHEST_TTL)
    except OSError as error:
        reason = f"the kernel does not drop the packets of a socket: {error.strerror}"
        raise CannotBeMadeError(reason) from error


def _accept_packets(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, 0)
