"""The transport over a client that answers what no server should, and notes the deadlines."""

import asyncio

import pytest

from consumer.errors import QueueError, QueueRefusedError
from consumer.sqs.api import Operation, Response, WireProtocol
from consumer.sqs.http import HttpClient, HttpResponse
from consumer.sqs.lean import LeanTransport
from consumer.sqs.signing import Credentials, Signer
from tests.fakes.virtual_time import run_virtually

URL = "http://sqs/000000000000/q"


class Answering(HttpClient):
    """Answers in turn, after a second each, the last answer for ever; notes what it was sent."""

    def __init__(self, *answers: HttpResponse) -> None:
        super().__init__("http://sqs", None)
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes]] = []
        self.deadlines: list[float] = []
        self.repeatable: list[bool] = []

    async def post(
        self,
        path: str,
        header_lines: str,
        body: bytes,
        deadline: float,
        *,
        is_idempotent: bool,
    ) -> HttpResponse:
        del header_lines
        self.sent.append((path, body))
        self.repeatable.append(is_idempotent)
        self.deadlines.append(deadline)
        await asyncio.sleep(1)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def _credentials(_: float) -> Credentials:
    return Credentials("AKIDEXAMPLE", "secret")


def transport_over(client: HttpClient, protocol: WireProtocol | None) -> LeanTransport:
    return LeanTransport(client, Signer("sqs", "eu-central-1"), _credentials, lambda: 0.0, protocol)


def called(
    client: Answering, protocol: WireProtocol | None, operation: Operation = "ReceiveMessage"
) -> Response | QueueError:
    """Call once; return the response or the error."""

    async def scenario() -> Response | QueueError:
        try:
            return await transport_over(client, protocol).call(operation, {"QueueUrl": URL}, 9)
        except QueueError as error:
            return error

    return run_virtually(scenario())


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
    client = Answering(HttpResponse(200, answer))
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


EMPTY_XML = b"<ReceiveMessageResponse><ReceiveMessageResult/></ReceiveMessageResponse>"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(HttpResponse(500, b"{}"), id="an empty object and a failure"),
        pytest.param(HttpResponse(404, b'{"message": "x"}'), id="an error of something else"),
        pytest.param(HttpResponse(200, b'{"status": "up"}'), id="an object of something else"),
        pytest.param(HttpResponse(200, b"[]"), id="a list"),
        pytest.param(HttpResponse(200, b"<html>"), id="a page"),
        pytest.param(HttpResponse(500, b""), id="nothing"),
    ],
)
def test_what_does_not_speak_json_is_asked_in_the_query_protocol(first: HttpResponse) -> None:
    client = Answering(first, HttpResponse(200, EMPTY_XML))
    assert called(client, None) == {"Messages": []}
    assert [path for path, _ in client.sent] == ["/", "/000000000000/q"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_cannot_answer_now_is_not_asked_in_another_protocol(status: int) -> None:
    client = Answering(HttpResponse(status, b"<html>"))
    assert str(called(client, None)) == f"ReceiveMessage: HTTP {status}"
    assert len(client.sent) == 1


def test_unknown_members_are_ignored() -> None:
    client = Answering(HttpResponse(200, b'{"Messages": [], "New": 1}'))
    assert called(client, None) == {"Messages": [], "New": 1}
    client = Answering(HttpResponse(200, b'{"New": 1}'))
    assert called(client, "json") == {"New": 1}
    assert len(client.sent) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(HttpResponse(400, b'{"__type": null}'), "Unknown", id="null"),
        pytest.param(HttpResponse(400, b'{"__type": {"a": 1}}'), "Unknown", id="object"),
        pytest.param(HttpResponse(400, b'{"__type": "a\\nb"}'), "Unknown", id="two lines"),
        pytest.param(HttpResponse(400, b'{"__type": "%b"}' % (b"x" * 99)), "Unknown", id="long"),
        pytest.param(HttpResponse(200, b'{"__type": "a#OverLimit"}'), "OverLimit", id="status 200"),
        pytest.param(HttpResponse(500, b"{}"), "HTTP 500", id="none"),
    ],
)
def test_an_error_in_json_has_a_code_that_is_safe_to_log(answer: HttpResponse, code: str) -> None:
    error = called(Answering(answer), "json")
    assert isinstance(error, QueueError)
    assert error.code == code


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html><body/></html>", id="a page"),
        pytest.param(b"<ReceiveMessageResponse/>", id="another operation"),
        pytest.param(b'<?xml version="1.0" encoding="x"?><a/>', id="unknown encoding"),
        pytest.param(b'<?xml version="1.0" encoding="utf-7"?><a/>', id="encoding of many bytes"),
        pytest.param(b"<a>" * 100_000, id="a deep tree"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_response_of_the_query_protocol_deletes_nothing(body: bytes) -> None:
    error = called(Answering(HttpResponse(200, body)), "query", "DeleteMessageBatch")
    assert str(error) == "DeleteMessageBatch: HTTP 200"


@pytest.mark.parametrize(
    ("operation", "is_idempotent"),
    [
        ("ReceiveMessage", False),
        ("SendMessageBatch", False),
        ("DeleteMessageBatch", True),
        ("ChangeMessageVisibilityBatch", True),
        ("GetQueueAttributes", True),
    ],
)
@pytest.mark.parametrize("protocol", ["json", "query"])
def test_only_what_is_idempotent_may_be_sent_again(
    operation: Operation, protocol: WireProtocol, *, is_idempotent: bool
) -> None:
    client = Answering(HttpResponse(500, b""))
    called(client, protocol, operation)
    assert client.repeatable == [is_idempotent]
