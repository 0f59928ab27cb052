"""The SQS double answers whatever it is sent, or closes; it never falls over."""

import asyncio
import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from devkit.sqs import SqsServer

OPERATIONS = st.sampled_from(
    [
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "CreateQueue",
        "GetQueueAttributes",
        "Nothing",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "SetQueueAttributes",
        "TagQueue",
    ]
)
NAMES = st.sampled_from(
    [
        "QueueUrl",
        "QueueName",
        "Entries",
        "Attributes",
        "MessageBody",
        "MessageAttributes",
        "ReceiptHandle",
        "VisibilityTimeout",
        "AttributeNames",
        "Tags",
        "Id",
        "DataType",
        "StringValue",
        "Value",
    ]
)
TEXTS = st.sampled_from(["", "q", "/q", "http://[q", "\ud800", "\0", "All", "9" * 5000])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXTS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.lists(
    st.lists(NAMES | st.sampled_from(["1", "2", "x", "", "Action", "Name"]), max_size=5).map(
        ".".join
    ),
    max_size=6,
)


def _post(target: str, body: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\n{target}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def _statuses(requests: list[bytes]) -> list[bytes]:
    async with SqsServer() as server, asyncio.timeout(60):
        server.create_queue("q")
        port = int(server.endpoint_url.rpartition(":")[2])
        answers = []
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answers.append((await reader.read())[9:12])
            writer.close()
        return answers


FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(
    calls=st.lists(
        st.tuples(OPERATIONS, st.dictionaries(NAMES, VALUES, max_size=4)), min_size=1, max_size=5
    )
)
def test_every_json_request_has_an_answer(
    calls: list[tuple[str, dict[str, object]]], caplog: pytest.LogCaptureFixture
) -> None:
    requests = [
        _post(f"X-Amz-Target: AmazonSQS.{operation}\r\n", json.dumps(parameters).encode())
        for operation, parameters in calls
    ]
    with caplog.at_level(logging.ERROR):
        assert set(asyncio.run(_statuses(requests))) <= {b"200", b"400", b"403", b"404"}
    assert not caplog.records


@FEW
@given(fields=FIELDS, operation=OPERATIONS)
def test_every_form_has_an_answer(
    fields: list[str], operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    form = "&".join([f"Action={operation}", *(f"{each}=%00v" for each in fields)]).encode()
    with caplog.at_level(logging.ERROR):
        assert set(asyncio.run(_statuses([_post("", form)]))) <= {b"200", b"400", b"403", b"404"}
    assert not caplog.records


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(_post("", b"Action=SendMessage&" + b"A." * 100_000 + b"=1"), id="deep form"),
        pytest.param(_post("X-Amz-Target: AmazonSQS.X\r\n", b"[" * 100_000), id="deep JSON"),
        pytest.param(_post("X-Amz-Target: AmazonSQS.X\r\n", b"9" * 100_000), id="long number"),
        pytest.param(_post("X-Amz-Target: AmazonSQS.X\r\n", b"\xff\xfe"), id="no text"),
        pytest.param(_post("", b"a=1&" * 5000), id="many fields"),
        pytest.param(b"nonsense\r\n\r\n", id="nonsense"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert await _statuses([request_bytes]) == [b"400"]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
