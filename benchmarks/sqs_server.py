"""How many messages the embedded SQS server serves: `python -m benchmarks.sqs_server`.

Connections that are always busy fill a queue to a depth and drain it, then receive, delete and send
in turn, so that it stays as deep as it is; ten messages a call. A message counts once. Reported are
messages per second by the clock, which the client's own CPU may bound, and per second of the
server's CPU.
"""

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

_DEPTHS = (1_000, 100_000)
_BATCH = 10
_CONNECTIONS = 4
_ROUNDS = 3_000
_BODY = json.dumps({"user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "ip": "199.172.111.135"})
_HANDLE = re.compile(rb'"ReceiptHandle":"([^"]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

# Yields requests, is sent their answers.
_Calls = Generator[bytes, bytes, None]


@dataclass(frozen=True, slots=True)
class _Requests:
    """Requests to one queue, in JSON."""

    queue_url: str

    def send(self) -> bytes:
        entries = [{"Id": str(number), "MessageBody": _BODY} for number in range(_BATCH)]
        return self._request("SendMessageBatch", Entries=entries)

    def receive(self) -> bytes:
        return self._request(
            "ReceiveMessage",
            MaxNumberOfMessages=_BATCH,
            AttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )

    def delete(self, handles: list[bytes]) -> bytes:
        entries = [
            {"Id": str(number), "ReceiptHandle": handle.decode()}
            for number, handle in enumerate(handles)
        ]
        return self._request("DeleteMessageBatch", Entries=entries)

    def _request(self, operation: str, **parameters: object) -> bytes:
        body = json.dumps({"QueueUrl": self.queue_url, **parameters}).encode()
        return (
            f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


# The rounds are shared: whichever connection is free takes the next one.
_Kind = Callable[[_Requests, Iterator[int]], _Calls]


def _fill(requests: _Requests, rounds: Iterator[int]) -> _Calls:
    send = requests.send()
    for _ in rounds:
        yield send


def _cycle(requests: _Requests, rounds: Iterator[int]) -> _Calls:
    send = requests.send()
    for _ in rounds:
        yield from _receive_and_delete(requests)
        yield send


def _drain(requests: _Requests, rounds: Iterator[int]) -> _Calls:
    for _ in rounds:
        yield from _receive_and_delete(requests)


def _receive_and_delete(requests: _Requests) -> _Calls:
    handles = _HANDLE.findall((yield requests.receive()))
    if len(handles) != _BATCH:
        raise RuntimeError(f"received {len(handles)} messages instead of {_BATCH}")
    yield requests.delete(handles)


@dataclass(frozen=True, slots=True)
class _Clients:
    """Connections to the server of one queue."""

    requests: _Requests
    connections: Sequence[socket.socket]

    def run(self, kind: _Kind, rounds: int) -> None:
        """Make so many rounds of calls; each connection has one call at a time."""
        left = iter(range(rounds))
        with selectors.DefaultSelector() as selector:
            for connection in self.connections:
                calls = kind(self.requests, left)
                selector.register(connection, selectors.EVENT_READ, calls)
                _go_on(selector, connection, calls, None)
            while selector.get_map():
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    _go_on(selector, key.fileobj, key.data, _read_answer(key.fileobj))


def _go_on(
    selector: selectors.BaseSelector, connected: socket.socket, calls: _Calls, answer: bytes | None
) -> None:
    """Make the next call on a connection, or leave it after its last one."""
    try:
        request = next(calls) if answer is None else calls.send(answer)
    except StopIteration:
        selector.unregister(connected)
    else:
        connected.sendall(request)


def _read_answer(connected: socket.socket) -> bytes:
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += _read(connected)
    match = _LENGTH.search(answer, 0, end)
    size = end + 4 + int(match[1] if match else 0)
    while len(answer) < size:
        answer += _read(connected)
    if not answer.startswith(b"HTTP/1.1 200 "):
        status_line, _, _ = answer.partition(b"\r\n")
        raise RuntimeError(f"a call failed: {status_line.decode('latin-1')}")
    return answer


def _read(connected: socket.socket) -> bytes:
    data = connected.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


@contextmanager
def _server() -> Iterator[tuple[psutil.Process, _Clients]]:
    """Run a server with an empty queue; yield its process, and clients of the queue."""
    command = [sys.executable, "-m", "devkit.sqs", "--port", "0", "--queue", "q"]
    # S603: the program is ours.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            queue_url = server.stdout.readline().strip()
            parts = urlsplit(queue_url)
            with ExitStack() as stack:
                connections = [
                    stack.enter_context(
                        socket.create_connection((parts.hostname or "", parts.port or 80))
                    )
                    for _ in range(_CONNECTIONS)
                ]
                yield psutil.Process(server.pid), _Clients(_Requests(queue_url), connections)
        finally:
            server.terminate()


class _Meter:
    """Adds up what phases of one kind took."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._messages = 0
        self._seconds = 0.0
        self._cpu_seconds = 0.0

    @contextmanager
    def measuring(self, messages: int) -> Iterator[None]:
        """Add a phase that moves so many messages."""
        began, cpu_began = time.perf_counter(), self._cpu()
        yield
        self._messages += messages
        self._seconds += time.perf_counter() - began
        self._cpu_seconds += self._cpu() - cpu_began

    def __str__(self) -> str:
        return (
            f"{self._messages / self._seconds:>7,.0f} messages/s by the clock,"
            f" {self._messages / self._cpu_seconds:>7,.0f} per second of the server's CPU"
        )

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


def _measure(depth: int) -> None:
    rounds = depth // _BATCH
    with _server() as (process, clients):
        sends, drains, cycles = _Meter(process), _Meter(process), _Meter(process)
        for _ in range(max(1, _ROUNDS // rounds)):
            with sends.measuring(depth):
                clients.run(_fill, rounds)
            with drains.measuring(depth):
                clients.run(_drain, rounds)
        clients.run(_fill, rounds)
        with cycles.measuring(_ROUNDS * _BATCH):
            clients.run(_cycle, _ROUNDS)
    print(f"depth {depth:>7,}: {cycles} (send, receive, delete)")
    print(f"depth {depth:>7,}: {drains} (receive, delete)")
    print(f"depth {depth:>7,}: {sends} (send)")


def main() -> None:
    """Measure at each depth."""
    for depth in _DEPTHS:
        _measure(depth)


if __name__ == "__main__":
    main()
