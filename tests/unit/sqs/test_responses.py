"""Whatever a server answers, a call has a result or a QueueError, and intact messages are taken."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, get_args
from xml.etree.ElementTree import Element, SubElement, tostring

import pytest
from hypothesis import example, given, settings, strategies as st

from consumer.errors import QueueError
from consumer.messages import Message
from consumer.pipeline.ports import BatchFailure
from consumer.sqs.api import Operation, Transport, WireProtocol
from consumer.sqs.http import HttpClient, HttpResponse
from consumer.sqs.lean import LeanTransport
from consumer.sqs.queue import QueueAttributes, queue_attributes
from consumer.sqs.sending import send_batch
from consumer.sqs.signing import Credentials, Signer
from consumer.sqs.source import SqsSource
from tests.fakes.virtual_time import run_virtually

URL = "http://sqs/000000000000/q"
SENT_MS = 1_700_000_000_000
MESSAGES = [
    Message(f"00000000-0000-0000-0000-00000000000{number}", f"h{number}", "{}", SENT_MS, 2)
    for number in range(4)
]


class Answering(HttpClient):
    def __init__(self, answer: HttpResponse) -> None:
        super().__init__("http://sqs", None)
        self._answer = answer

    async def post(
        self,
        path: str,
        header_lines: str,
        body: bytes,
        deadline: float,
        *,
        is_idempotent: bool,
    ) -> HttpResponse:
        del path, header_lines, body, deadline, is_idempotent
        return self._answer


async def _credentials(_: float) -> Credentials:
    return Credentials("AKIDEXAMPLE", "secret")


def answering(status: int, body: bytes, protocol: WireProtocol | None) -> Transport:
    signer = Signer("sqs", "eu-central-1")
    client = Answering(HttpResponse(status, body))
    return LeanTransport(client, signer, _credentials, lambda: 0.0, protocol)


def source_over(transport: Transport) -> SqsSource:
    return SqsSource(
        transport,
        URL,
        wait_seconds=0,
        call_timeout_seconds=1,
        now=lambda: SENT_MS / 1000,
        emit=lambda _: None,
    )


Result = Sequence[Message] | Sequence[BatchFailure] | QueueAttributes | None
CALLS: dict[Operation, Callable[[Transport], Awaitable[Result]]] = {
    "ReceiveMessage": lambda transport: source_over(transport).receive(),
    "DeleteMessageBatch": lambda transport: source_over(transport).delete(MESSAGES),
    "ChangeMessageVisibilityBatch": lambda transport: source_over(transport).extend(MESSAGES, 9),
    "GetQueueAttributes": lambda transport: queue_attributes(transport, URL, timeout_seconds=1),
    "SendMessageBatch": lambda transport: send_batch(
        transport, URL, ["a", "b", "c", "d"], timeout_seconds=1
    ),
}
assert set(CALLS) == set(get_args(Operation))


def result_of(operation: Operation, transport: Transport) -> Result | QueueError:
    async def scenario() -> Result | QueueError:
        try:
            return await CALLS[operation](transport)
        except QueueError as error:
            return error

    return run_virtually(scenario())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Id", "Code", "Body", "SentTimestamp", "maxReceiveCount", "x"]),
            values,
            max_size=3,
        )
    ),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "Id": st.sampled_from(["0", "1", "7"]) | JSON_VALUES,
        "Code": st.sampled_from(["InternalError", "ReceiptHandleIsInvalid"]) | JSON_VALUES,
        "SenderFault": st.booleans() | JSON_VALUES,
    },
)
QUEUE_ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(["0", "30", "-1", "x", '{"maxReceiveCount": 3}', "[" * 9999])
        | JSON_VALUES
        for name in ("VisibilityTimeout", "RedrivePolicy", "ApproximateNumberOfMessages")
    },
)
RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "Messages": JSON_VALUES,
        "Failed": st.lists(ENTRIES | JSON_VALUES, max_size=3) | JSON_VALUES,
        "Successful": st.lists(ENTRIES | JSON_VALUES, max_size=3) | JSON_VALUES,
        "Attributes": QUEUE_ATTRIBUTES | JSON_VALUES,
        "__type": JSON_VALUES,
        "New": JSON_VALUES,
    },
)


def check(operation: Operation, result: Result | QueueError) -> None:
    """Fail unless it is a result that the operation may have."""
    if isinstance(result, QueueError):
        assert result.operation in {operation, "credentials"}
        assert result.code
        assert len(result.code) <= 80
        return
    match operation:
        case "ReceiveMessage":
            assert isinstance(result, list)
            assert all(isinstance(each, Message) for each in result)
        case "DeleteMessageBatch" | "ChangeMessageVisibilityBatch":
            assert isinstance(result, Sequence)
            failed = [each.message for each in result if isinstance(each, BatchFailure)]
            assert len(failed) == len(result) == len(set(failed))
            assert set(failed) <= set(MESSAGES)
        case "GetQueueAttributes":
            assert isinstance(result, QueueAttributes)
            assert result.visibility_seconds > 0
        case "SendMessageBatch":
            assert result is None


OPERATIONS = st.sampled_from(get_args(Operation))
STATUSES = st.sampled_from([200, 200, 400, 500])


@given(OPERATIONS, STATUSES, RESPONSES | JSON_VALUES, st.sampled_from(["json", None]))
@settings(max_examples=200)
def test_any_json_is_a_result_or_an_error(
    operation: Operation, status: int, answer: object, protocol: Literal["json"] | None
) -> None:
    body = json.dumps(answer).encode()
    check(operation, result_of(operation, answering(status, body, protocol)))


NAMES = st.sampled_from(
    [
        *("Message", "MessageId", "ReceiptHandle", "Body", "Attribute", "Name", "Value"),
        *("BatchResultErrorEntry", "DeleteMessageBatchResultEntry", "Id", "Code", "SenderFault"),
        *("Error", "{http://queue.amazonaws.com/doc/2012-11-05/}Message", "x"),
    ]
)
TEXTS = st.sampled_from(
    ["", "0", "1", "7", "true", "InternalError", "SentTimestamp", "VisibilityTimeout", "-1", "é"]
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> Element:
    element = Element(draw(NAMES))
    element.text = draw(TEXTS)
    if depth:
        element.extend(draw(st.lists(trees(depth - 1), max_size=3)))
    return element


@given(OPERATIONS, STATUSES, st.lists(trees(), max_size=3), st.sampled_from(["query", None]))
@settings(max_examples=200)
def test_any_xml_is_a_result_or_an_error(
    operation: Operation, status: int, parts: list[Element], protocol: Literal["query"] | None
) -> None:
    root = Element(f"{operation}Response")
    root.extend(parts)
    check(operation, result_of(operation, answering(status, tostring(root), protocol)))


@given(OPERATIONS, STATUSES, st.binary(max_size=60), st.sampled_from(["json", "query", None]))
def test_any_bytes_are_a_result_or_an_error(
    operation: Operation, status: int, body: bytes, protocol: WireProtocol | None
) -> None:
    check(operation, result_of(operation, answering(status, body, protocol)))


def _members(message: Message) -> dict[str, object]:
    return {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "Body": message.body,
        "MD5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
        "Attributes": {"SentTimestamp": str(message.sent_ms)},
    }


@st.composite
def damaged_messages(draw: st.DrawFn) -> object:
    """Draw a message of which a member is missing or replaced."""
    members = _members(MESSAGES[0]) | {"MessageId": "odd"}
    name = draw(st.sampled_from(["MessageId", "ReceiptHandle", "Body", "MD5OfBody", "Attributes"]))
    del members[name]
    return members | draw(st.fixed_dictionaries({}, optional={name: JSON_VALUES}))


@given(st.lists(damaged_messages() | JSON_VALUES, max_size=4), st.data())
@example([_members(MESSAGES[0]) | {"MessageId": "odd", "Body": "[]"}], None)
@pytest.mark.parametrize("protocol", ["json", None])
def test_intact_messages_are_taken_whatever_stands_beside_them(
    protocol: WireProtocol | None, odd: list[object], data: st.DataObject | None
) -> None:
    listed: list[object] = [_members(message) for message in MESSAGES]
    for each in odd:
        listed.insert(data.draw(st.integers(0, len(listed))) if data else 0, each)
    body = json.dumps({"Messages": listed}).encode()
    result = result_of("ReceiveMessage", answering(200, body, protocol))
    assert isinstance(result, list)
    assert [each for each in result if each in MESSAGES] == MESSAGES


@given(st.lists(st.tuples(st.integers(0, 4), trees()), max_size=4))
def test_intact_messages_are_taken_in_the_query_protocol_too(
    odd: list[tuple[int, Element]],
) -> None:
    root = Element("ReceiveMessageResponse")
    result_element = SubElement(root, "ReceiveMessageResult")
    for message in MESSAGES:
        element = SubElement(result_element, "Message")
        for name in ("MessageId", "ReceiptHandle", "Body"):
            SubElement(element, name).text = str(_members(message)[name])
        attribute = SubElement(element, "Attribute")
        SubElement(attribute, "Name").text = "SentTimestamp"
        SubElement(attribute, "Value").text = str(message.sent_ms)
    for position, tree in odd:
        result_element.insert(position, tree)
    result = result_of("ReceiveMessage", answering(200, tostring(root), "query"))
    assert isinstance(result, list)
    assert [each for each in result if each in MESSAGES] == MESSAGES
