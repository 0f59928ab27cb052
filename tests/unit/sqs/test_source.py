"""The source over a transport that answers what no server should, or what only some do."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.sqs.api import Operation, Payload, Response
from consumer.sqs.source import SqsSource

GOOD = {
    "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
    "ReceiptHandle": "handle",
    "Body": "{}",
    "MD5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
    "Attributes": {"SentTimestamp": "1700000000000"},
}


@dataclass
class Answering:
    """A transport that gives one answer to every call."""

    answer: object
    calls: list[tuple[Operation, float]] = field(default_factory=list)

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        del payload
        self.calls.append((operation, seconds))
        return cast("Response", self.answer)


@dataclass
class FailingFirst:
    """A transport whose first call fails, or answers what it should not; notes each poll's wait."""

    first: object
    waits: list[object] = field(default_factory=list)

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        del operation
        self.waits.append((payload["WaitTimeSeconds"], seconds))
        if len(self.waits) > 1:
            return {}
        if isinstance(self.first, QueueError):
            raise self.first
        return cast("Response", self.first)


def source(answer: object) -> SqsSource:
    return SqsSource(Answering(answer), "url", wait_seconds=20, call_timeout_seconds=10)


def received(**changes: object) -> list[Message]:
    message = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return list(asyncio.run(source({"Messages": [message]}).receive()))


def test_a_message_is_read() -> None:
    (message,) = received()
    assert message == Message(str(GOOD["MessageId"]), "handle", "{}", 1_700_000_000_000, 2)


def test_a_receive_has_its_wait_and_the_calls_own_time() -> None:
    transport = Answering({})
    receiving = SqsSource(transport, "url", wait_seconds=20, call_timeout_seconds=10)
    assert not asyncio.run(receiving.receive())
    assert transport.calls == [("ReceiveMessage", 30)]


@pytest.mark.parametrize(
    "first",
    [
        QueueError("ReceiveMessage", "ServiceUnavailable"),
        {"Messages": [{}]},
        {"Messages": [GOOD | {"Body": "damaged"}]},
    ],
)
async def test_after_a_failed_receive_one_poll_is_short(first: object) -> None:
    transport = FailingFirst(first)
    receiving = SqsSource(transport, "url", wait_seconds=20, call_timeout_seconds=10)
    with pytest.raises(QueueError):
        await receiving.receive()
    for _ in range(2):
        assert not await receiving.receive()
    assert transport.waits == [(20, 30), (1, 11), (20, 30)]


@pytest.mark.parametrize("answer", [{}, {"Messages": []}, {"Messages": None}])
def test_no_messages_are_no_messages(answer: object) -> None:
    assert not asyncio.run(source(answer).receive())


def test_a_damaged_body_is_an_error() -> None:
    with pytest.raises(QueueError, match="ReceiveMessage: BodyDamaged"):
        received(Body="[]")


def test_a_lone_surrogate_counts_as_the_bytes_that_it_would_have() -> None:
    (message,) = received(Body="\ud800", MD5OfBody=None)
    assert message.size == 3


def test_an_id_that_is_no_uuid_becomes_one_always_the_same() -> None:
    first, second = received(MessageId="17")[0], received(MessageId="17")[0]
    assert first.message_id == second.message_id != received(MessageId="18")[0].message_id
    assert len(first.message_id) == 36


def test_without_a_time_of_sending_the_server_cannot_be_used() -> None:
    with pytest.raises(QueueRefusedError, match="gives no SentTimestamp"):
        received(Attributes={})


@pytest.mark.parametrize(
    "changes",
    [
        {"Body": None},
        {"ReceiptHandle": None},
        {"MessageId": None},
        {"MessageId": 5},
        {"Attributes": {"SentTimestamp": "yesterday"}},
    ],
)
def test_a_malformed_message_is_an_error_without_its_text(changes: dict[str, object]) -> None:
    with pytest.raises(QueueError) as error:
        received(**changes)
    assert str(error.value) == "ReceiveMessage: MalformedResponse"


@pytest.mark.parametrize("failed", [{"Id": "7", "Code": "x"}, {"Id": "0"}, {"Code": "x"}, "text"])
def test_an_entry_that_was_not_asked_for_is_an_error(failed: object) -> None:
    message = received()[0]
    with pytest.raises(QueueError, match="DeleteMessageBatch: MalformedResponse"):
        asyncio.run(source({"Failed": [failed]}).delete([message]))


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("ReceiptHandleIsInvalid", True),
        ("InvalidParameterValue", True),
        ("AWS.SimpleQueueService.MessageNotInflight", True),
        ("InternalError", False),
        ("RequestThrottled", False),
    ],
)
def test_an_expired_handle_is_final_and_a_queue_fault_is_not(code: str, *, final: bool) -> None:
    message = received()[0]
    (refused,) = asyncio.run(source({"Failed": [{"Id": "0", "Code": code}]}).extend([message], 9))
    assert (refused.message, refused.handle_expired) == (message, final)
