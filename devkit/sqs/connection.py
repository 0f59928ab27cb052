"""One client's connection: its requests are answered one by one and in order."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

from devkit.sqs.framing import (
    MAX_BODY_BYTES,
    BadRequestError,
    Head,
    take_body,
    take_head,
)

_IDLE_SECONDS = 120.0
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class HttpConnection(asyncio.Protocol):
    """One client's connection.

    `on_request` is called for each request, with its head and its body, and answers it, at once or
    later, with `respond` or with `abort`. `on_lost` is called once, when the connection is gone;
    then `is_open` is false.
    """

    def __init__(
        self,
        on_request: Callable[["HttpConnection", Head, bytes], None],
        on_made: Callable[["HttpConnection"], None],
        on_lost: Callable[["HttpConnection"], None],
    ) -> None:
        self._on_request = on_request
        self._on_made = on_made
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        self._is_busy = False
        self._is_parsing = False
        self._reads_paused = False
        self._writes_paused = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._active_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether an answer can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports have asyncio's methods, but not its classes.
        self._transport = cast("asyncio.Transport", transport)
        self._on_made(self)
        self._watch_idleness()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._transport = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._on_lost(self)

    def eof_received(self) -> bool:
        """See asyncio.Protocol: a client that sends no more waits for no answer."""
        return False

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._active_at = self._loop.time()
        self._buffer += data
        self._parse()
        if len(self._buffer) > MAX_BODY_BYTES:
            self._pause_reads(pause=True)

    def pause_writing(self) -> None:
        """See asyncio.Protocol: a client that reads no answers gets no more of them."""
        self._writes_paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writes_paused = False
        self._resume()

    def respond(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        """Answer the request at hand, and go on with the next one."""
        if not self.is_open or self._head is None:
            return
        keeps_alive = self._head.keeps_alive
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        )
        for name, value in headers.items():
            head += f"{name}: {value}\r\n"
        head += "\r\n" if keeps_alive else "Connection: close\r\n\r\n"
        self._write(head.encode("latin-1") + body)
        self._head = None
        self._is_busy = False
        self._active_at = self._loop.time()
        if keeps_alive:
            self._resume()
        else:
            self.close()

    def close(self) -> None:
        """Close once what was answered is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without an answer."""
        if self._transport is not None:
            self._transport.abort()

    def _parse(self) -> None:
        """Hand over the requests that are there, until one has to wait for its answer."""
        if self._is_parsing:
            return
        self._is_parsing = True
        try:
            while self._takes_requests() and (head := self._next_head()) is not None:
                body = take_body(self._buffer, head)
                if body is None:
                    break
                self._is_busy = True
                self._on_request(self, head, body)
        except BadRequestError as error:
            self._refuse(error.status)
        finally:
            self._is_parsing = False

    def _takes_requests(self) -> bool:
        return bool(self._buffer) and self.is_open and not self._is_busy and not self._writes_paused

    def _next_head(self) -> Head | None:
        """Return the head of the request whose body is still to be taken."""
        if self._head is None:
            self._head = take_head(self._buffer)
            if self._head is not None and self._head.awaits_continue:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._head

    def _refuse(self, status: HTTPStatus) -> None:
        self._head = Head("", "", {}, 0, keeps_alive=False)
        self._buffer.clear()
        self.respond(status, "text/plain", status.phrase.encode(), {})

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _pause_reads(self, *, pause: bool) -> None:
        if self._transport is None or pause == self._reads_paused:
            return
        self._reads_paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _resume(self) -> None:
        self._pause_reads(pause=False)
        if self._buffer:
            self._parse()

    def _watch_idleness(self) -> None:
        """Close a connection on which nothing has come or gone for long, but for a waiting one."""
        if self._is_busy or not self._idle_timer:
            self._active_at = self._loop.time()
        idle_at = self._active_at + _IDLE_SECONDS
        if self._loop.time() >= idle_at:
            self.abort()
        else:
            self._idle_timer = self._loop.call_at(idle_at, self._watch_idleness)
