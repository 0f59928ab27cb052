"""The floor: receive and delete over a bare socket, and COPY; nothing is validated or masked.

Requests are not signed, and answers are trusted to be what they should be.
"""

import json
import os
import socket
from urllib.parse import urlsplit

import psycopg
from pydantic_core import from_json

_ROWS_A_COPY = 1000
_COPY = (
    "COPY user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version,"
    " create_date) FROM STDIN"
)

Event = dict[str, str]


class LeanQueue:
    """Calls over one connection."""

    def __init__(self, endpoint_url: str, queue_url: str) -> None:
        parts = urlsplit(endpoint_url)
        self._host = parts.netloc
        self._queue_url = queue_url
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receive = self._request(
            "ReceiveMessage",
            {"QueueUrl": queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1},
        )

    def receive(self) -> list[Event]:
        """Up to ten messages."""
        answer = from_json(self._ask(self._receive), cache_strings="keys")
        messages: list[Event] = answer.get("Messages", [])
        return messages

    def delete(self, messages: list[Event]) -> None:
        """Delete them."""
        entries = [
            {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
            for position, message in enumerate(messages)
        ]
        self._ask(
            self._request("DeleteMessageBatch", {"QueueUrl": self._queue_url, "Entries": entries})
        )

    def _request(self, operation: str, payload: dict[str, object]) -> bytes:
        body = json.dumps(payload).encode()
        return (
            f"POST / HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/x-amz-json-1.0\r\n"
            f"x-amz-target: AmazonSQS.{operation}\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _ask(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        answer = self._socket.recv(65536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._socket.recv(65536)
        head = answer[:end].lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        while len(answer) < end + 4 + length:
            answer += self._socket.recv(65536)
        return answer[end + 4 :]


def copy(connection: psycopg.Connection, held: list[Event]) -> None:
    """Write the events as they are."""
    with connection.cursor().copy(_COPY) as writing:
        for message in held:
            event = from_json(message["Body"])
            writing.write_row(
                (
                    event["user_id"],
                    event["device_type"],
                    event["ip"],
                    event["device_id"],
                    event["locale"],
                    event["app_version"],
                    "2026-01-01",
                )
            )
    connection.commit()


def main() -> None:
    """Consume until SIGTERM."""
    queue = LeanQueue(os.environ["PEER_ENDPOINT_URL"], os.environ["PEER_QUEUE_URL"])
    held: list[Event] = []
    with psycopg.connect(os.environ["PEER_DSN"]) as connection:
        while True:
            received = queue.receive()
            held += received
            if held and (not received or len(held) >= _ROWS_A_COPY):
                copy(connection, held)
                for start in range(0, len(held), 10):
                    queue.delete(held[start : start + 10])
                held = []


if __name__ == "__main__":
    main()
