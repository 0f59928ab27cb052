"""How many messages the embedded SQS server serves: `python -m benchmarks.sqs_server`.

One client over a raw socket receives ten messages, deletes them and sends ten others, so that the
queue stays as deep as it is. Told are messages per second by the clock, and per second of the
server's own CPU, which is what it would serve if nobody else took the core.
"""

import json
import re
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import psutil

_DEPTHS = (1_000, 100_000)
_ROUNDS = 4_000
_BODY = json.dumps({"user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "ip": "199.172.111.135"})
_HANDLE = re.compile(rb'"ReceiptHandle":"([^"]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Client:
    """Speaks JSON to one queue, a call after the other."""

    def __init__(self, queue_url: str) -> None:
        parts = urlsplit(queue_url)
        self._url = queue_url
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80))
        batch = [{"Id": str(number), "MessageBody": _BODY} for number in range(10)]
        self._send = self._request("SendMessageBatch", Entries=batch)
        self._receive = self._request("ReceiveMessage", MaxNumberOfMessages=10)

    def send(self) -> None:
        self._call(self._send)

    def receive_and_delete(self) -> int:
        """Return how many messages there were."""
        handles = _HANDLE.findall(self._call(self._receive))
        entries = [
            {"Id": str(number), "ReceiptHandle": handle.decode()}
            for number, handle in enumerate(handles)
        ]
        self._call(self._request("DeleteMessageBatch", Entries=entries))
        return len(handles)

    def _request(self, operation: str, **parameters: object) -> bytes:
        body = json.dumps({"QueueUrl": self._url, **parameters}).encode()
        return (
            f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _call(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._read()
        match = _LENGTH.search(answer, 0, end)
        size = end + 4 + int(match[1] if match else 0)
        while len(answer) < size:
            answer += self._read()
        return answer

    def _read(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def _measure(depth: int) -> str:
    command = [sys.executable, "-m", "consumer.embedded.sqs", "--port", "0", "--queue", "q"]
    # S603: the program is ours.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            client = _Client(server.stdout.readline().strip())
            for _ in range(depth // 10):
                client.send()
            process = psutil.Process(server.pid)
            cpu_seconds, seconds = _cpu_seconds(process), time.perf_counter()
            messages = 0
            for _ in range(_ROUNDS):
                messages += client.receive_and_delete()
                client.send()
            cpu_seconds = _cpu_seconds(process) - cpu_seconds
            seconds = time.perf_counter() - seconds
        finally:
            server.terminate()
    return (
        f"depth {depth:>7,}: {messages / seconds:>7,.0f} messages/s by the clock,"
        f" {messages / cpu_seconds:>7,.0f} per second of the server's CPU (sent, received, deleted)"
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    """Measure at each depth."""
    for depth in _DEPTHS:
        print(_measure(depth))


if __name__ == "__main__":
    main()
