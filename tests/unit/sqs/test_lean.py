"""The transport over a client and credentials that note until when they are waited for."""

import asyncio

import pytest

from consumer.errors import QueueRefusedError
from consumer.sqs.api import WireProtocol
from consumer.sqs.http import HttpClient, HttpResponse
from consumer.sqs.lean import LeanTransport
from consumer.sqs.signing import Credentials, Signer
from tests.fakes.virtual_time import run_virtually


class Answering(HttpClient):
    """Answers every request alike, after a second, and notes the deadlines."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("http://sqs", None)
        self.answer = HttpResponse(200, answer)
        self.deadlines: list[float] = []

    async def post(
        self, path: str, header_lines: str, body: bytes, deadline: float
    ) -> HttpResponse:
        del path, header_lines, body
        self.deadlines.append(deadline)
        await asyncio.sleep(1)
        return self.answer


@pytest.mark.parametrize(
    ("protocol", "answer", "requests"),
    [
        pytest.param("json", b"{}", 1, id="json"),
        pytest.param("query", b"<DeleteMessageBatchResponse/>", 1, id="query"),
        pytest.param(None, b"<DeleteMessageBatchResponse/>", 2, id="json, then query"),
    ],
)
def test_all_of_a_call_has_the_one_deadline(
    protocol: WireProtocol | None, answer: bytes, requests: int
) -> None:
    client = Answering(answer)
    asked: list[float] = []

    async def credentials(deadline: float) -> Credentials:
        asked.append(deadline)
        await asyncio.sleep(1)
        return Credentials("AKIDEXAMPLE", "secret")

    async def scenario() -> None:
        await asyncio.sleep(100)
        signer = Signer("sqs", "eu-central-1")
        transport = LeanTransport(client, signer, credentials, lambda: 0.0, protocol)
        await transport.call("DeleteMessageBatch", {"QueueUrl": "http://sqs/q"}, 7)

    run_virtually(scenario())
    assert asked == client.deadlines == [107] * requests


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Credentials("AKIDEXAMPLE", "sec\udcffret"), id="secret"),
        pytest.param(Credentials("AKID€", "secret"), id="access key"),
        pytest.param(Credentials("AKIDEXAMPLE", "secret", "tok€n"), id="token"),
    ],
)
def test_credentials_that_no_header_can_have_are_refused_without_their_text(
    broken: Credentials,
) -> None:
    async def credentials(_: float) -> Credentials:
        return broken

    transport = LeanTransport(
        HttpClient("http://sqs", None), Signer("sqs", "eu-central-1"), credentials, lambda: 0.0
    )
    with pytest.raises(QueueRefusedError, match="check the AWS credentials") as caught:
        asyncio.run(transport.call("DeleteMessageBatch", {"QueueUrl": "http://sqs/q"}, 7))
    assert caught.value.__context__ is None
