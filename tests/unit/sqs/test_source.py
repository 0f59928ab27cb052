"""The source over a transport that answers what no server should, or what only some do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import BatchFailure
from consumer.sqs.api import Operation, Payload, Response
from consumer.sqs.source import SqsSource
from consumer.telemetry import events as telemetry

NOW_SECONDS = 1_700_000_000.0
GOOD: dict[str, object] = {
    "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
    "ReceiptHandle": "handle",
    "Body": "{}",
    "MD5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
    "Attributes": {"SentTimestamp": "1700000000000"},
}
MESSAGE = Message(str(GOOD["MessageId"]), "handle", "{}", 1_700_000_000_000, 2)


@dataclass
class Answering:
    """A transport that gives its answers in turn, the last one for ever."""

    answers: list[Response | QueueError]
    calls: list[tuple[Operation, Payload, float]] = field(default_factory=list)

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        self.calls.append((operation, payload, seconds))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, QueueError):
            raise answer
        return answer


@dataclass
class Received:
    """A source over given answers, and what it emitted."""

    transport: Answering
    emitted: list[telemetry.TelemetryEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = SqsSource(
            self.transport,
            "url",
            wait_seconds=20,
            call_timeout_seconds=10,
            now=lambda: NOW_SECONDS,
            emit=self.emitted.append,
        )


def over(*answers: Response | QueueError) -> Received:
    return Received(Answering(list(answers)))


def receive(*messages: object) -> Sequence[Message]:
    return asyncio.run(over({"Messages": list(messages)}).source.receive())


def test_a_message_is_read() -> None:
    assert receive(GOOD) == [MESSAGE]


def test_a_receive_has_its_wait_and_the_calls_own_time() -> None:
    queue = over({})
    assert not asyncio.run(queue.source.receive())
    ((operation, payload, seconds),) = queue.transport.calls
    assert (operation, payload["WaitTimeSeconds"], seconds) == ("ReceiveMessage", 20, 30)


@pytest.mark.parametrize(
    "first",
    [
        QueueError("ReceiveMessage", "ServiceUnavailable"),
        {"Messages": "text"},
        {"Messages": [GOOD | {"Body": "[]"}] * 2},
    ],
)
async def test_after_a_failed_receive_one_poll_is_short(first: Response | QueueError) -> None:
    queue = over(first, {})
    with pytest.raises(QueueError):
        await queue.source.receive()
    for _ in range(2):
        assert not await queue.source.receive()
    waits = [(payload["WaitTimeSeconds"], seconds) for _, payload, seconds in queue.transport.calls]
    assert waits == [(20, 30), (1, 11), (20, 30)]


@pytest.mark.parametrize("answer", [{}, {"Messages": []}, {"Messages": None}, {"New": [GOOD]}])
def test_no_messages_are_no_messages(answer: Response) -> None:
    assert not asyncio.run(over(answer).source.receive())


@pytest.mark.parametrize("messages", ["text", 5, {"0": GOOD}, True])
def test_messages_that_are_no_list_are_an_error(messages: object) -> None:
    with pytest.raises(QueueError, match="ReceiveMessage: MalformedResponse"):
        asyncio.run(over({"Messages": messages}).source.receive())


UNSENDABLE: list[tuple[str, object]] = [
    ("sent yesterday", "yesterday"),
    ("sent a list", []),
    ("sent true", True),
    ("sent never", float("inf")),
    ("sent with too many digits", "9" * 5000),
    ("sent before SQS", "1136073599999"),
    ("sent two days ahead", str(1_700_000_000_000 + 2 * 86_400_000)),
    ("sent below zero", "-1"),
]
DAMAGED = [
    pytest.param("text", "MalformedMessage", id="text"),
    pytest.param(None, "MalformedMessage", id="null"),
    pytest.param([], "MalformedMessage", id="list"),
    pytest.param({}, "MalformedMessage", id="empty"),
    pytest.param(GOOD | {"Body": None}, "MalformedMessage", id="body null"),
    pytest.param(GOOD | {"Body": {}}, "MalformedMessage", id="body an object"),
    pytest.param(GOOD | {"ReceiptHandle": None}, "MalformedMessage", id="handle null"),
    pytest.param(GOOD | {"ReceiptHandle": ""}, "MalformedMessage", id="handle empty"),
    pytest.param(GOOD | {"MessageId": 5}, "MalformedMessage", id="id a number"),
    pytest.param(GOOD | {"MessageId": ""}, "MalformedMessage", id="id empty"),
    pytest.param(GOOD | {"MessageId": "\ud800"}, "MalformedMessage", id="id half a character"),
    pytest.param(GOOD | {"Attributes": None}, "NoSentTimestamp", id="attributes null"),
    pytest.param(GOOD | {"Attributes": "text"}, "NoSentTimestamp", id="attributes text"),
    pytest.param(GOOD | {"Attributes": {}}, "NoSentTimestamp", id="attributes empty"),
    pytest.param(GOOD | {"Attributes": {"SentTimestamp": None}}, "NoSentTimestamp", id="sent null"),
    *(
        pytest.param(GOOD | {"Attributes": {"SentTimestamp": sent}}, "BadSentTimestamp", id=name)
        for name, sent in UNSENDABLE
    ),
    pytest.param(GOOD | {"Body": "[]"}, "BodyDamaged", id="body damaged"),
    pytest.param(GOOD | {"MD5OfBody": 5}, "BodyDamaged", id="digest a number"),
]


@pytest.mark.parametrize(("damaged", "code"), DAMAGED)
def test_a_damaged_message_is_left_in_the_queue_and_its_neighbours_are_taken(
    damaged: object, code: str
) -> None:
    second = GOOD | {"MessageId": "00000000-0000-0000-0000-000000000001"}
    queue = over({"Messages": [GOOD, damaged, second]})
    messages = asyncio.run(queue.source.receive())
    assert messages == [MESSAGE, MESSAGE._replace(message_id=str(second["MessageId"]))]
    assert queue.emitted == [telemetry.MessageDamaged(code)]


async def test_a_damaged_message_alone_is_no_failure_of_the_queue() -> None:
    queue = over({"Messages": [GOOD]}, {"Messages": [GOOD | {"Attributes": {}}]})
    assert await queue.source.receive()
    for _ in range(2):
        assert not await queue.source.receive()
    assert [payload["WaitTimeSeconds"] for _, payload, _ in queue.transport.calls] == [20, 20, 20]


def test_damaged_messages_alone_are_a_failure_and_each_is_reported() -> None:
    queue = over({"Messages": ["text", GOOD | {"Body": "[]"}]})
    with pytest.raises(QueueError, match="ReceiveMessage: MalformedMessage"):
        asyncio.run(queue.source.receive())
    assert queue.emitted == [
        telemetry.MessageDamaged("MalformedMessage"),
        telemetry.MessageDamaged("BodyDamaged"),
    ]


def test_a_server_that_gives_no_time_of_sending_cannot_be_used() -> None:
    with pytest.raises(QueueRefusedError, match="gives no SentTimestamp"):
        receive(GOOD | {"Attributes": {}}, GOOD | {"Attributes": None})


def test_a_message_from_a_clock_that_is_a_little_ahead_is_taken() -> None:
    sent = str(1_700_000_000_000 + 86_400_000)
    (message,) = receive(GOOD | {"Attributes": {"SentTimestamp": sent}})
    assert message.sent_ms == int(sent)


def test_a_body_without_a_digest_is_taken() -> None:
    assert receive({name: value for name, value in GOOD.items() if name != "MD5OfBody"}) == [
        MESSAGE
    ]


def test_a_lone_surrogate_counts_as_the_bytes_that_it_would_have() -> None:
    (message,) = receive(GOOD | {"Body": "\ud800", "MD5OfBody": None})
    assert message.size == 3


def test_an_id_that_is_no_uuid_becomes_one_always_the_same() -> None:
    first, second, other = receive(*(GOOD | {"MessageId": name} for name in ("17", "17", "18")))
    assert first.message_id == second.message_id != other.message_id
    assert len(first.message_id) == 36


MESSAGES = [MESSAGE._replace(message_id=str(number)) for number in range(3)]


def failures(answer: Response) -> Sequence[BatchFailure]:
    deleted = asyncio.run(over(answer).source.delete(MESSAGES))
    assert asyncio.run(over(answer).source.extend(MESSAGES, 9)) == deleted
    return deleted


@pytest.mark.parametrize(
    "answer", [{}, {"Failed": []}, {"Failed": None}, {"Successful": [{"Id": "0"}], "Failed": []}]
)
def test_without_failed_entries_all_entries_succeeded(answer: Response) -> None:
    assert not failures(answer)


@pytest.mark.parametrize("code", [None, 5, {}, "", "a\nb", "x" * 200])
def test_an_entry_whose_code_cannot_be_read_failed_and_may_be_repeated(code: object) -> None:
    assert failures({"Failed": [{"Id": "1", "Code": code}]}) == [
        BatchFailure(MESSAGES[1], "Unknown", handle_expired=False)
    ]


@pytest.mark.parametrize(
    "unreadable",
    [{"Id": "7", "Code": "x"}, {"Id": 1, "Code": "x"}, {"Id": None}, {"Code": "x"}, "text", None],
)
def test_beside_an_entry_that_cannot_be_read_only_named_successes_count(unreadable: object) -> None:
    successful = [{"Id": "0"}, {"Id": "9"}, "text"]
    failed = [{"Id": "1", "Code": "ReceiptHandleIsInvalid"}, unreadable]
    assert failures({"Successful": successful, "Failed": failed}) == [
        BatchFailure(MESSAGES[1], "ReceiptHandleIsInvalid", handle_expired=True),
        BatchFailure(MESSAGES[2], "MalformedResponse", handle_expired=False),
    ]


@pytest.mark.parametrize("failed", [{"0": {}}, "text", 5])
def test_failed_entries_that_are_no_list_fail_every_entry(failed: object) -> None:
    assert [each.message for each in failures({"Failed": failed})] == MESSAGES


@pytest.mark.parametrize(
    ("code", "expired"),
    [
        ("ReceiptHandleIsInvalid", True),
        ("InvalidParameterValue", True),
        ("AWS.SimpleQueueService.MessageNotInflight", True),
        ("InternalError", False),
        ("RequestThrottled", False),
    ],
)
def test_an_expired_handle_is_distinguished_from_a_queue_fault(code: str, *, expired: bool) -> None:
    (failure,) = failures({"Failed": [{"Id": "0", "Code": code}]})
    assert (failure.message, failure.handle_expired) == (MESSAGES[0], expired)
