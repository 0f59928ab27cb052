"""The queue through each transport and each protocol that it speaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import pytest

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.sqs.api import Transport
from consumer.sqs.client import open_transport
from consumer.sqs.queue import QueueAddress, QueueAttributes, queue_attributes
from consumer.sqs.sending import FifoOrder, send_batch
from consumer.sqs.source import SqsSource
from consumer.telemetry.events import TelemetryEvent
from devkit.sqs import (
    AnswerError,
    Code,
    Delay,
    Disconnect,
    InjectedFault,
    RefuseEntries,
    Request,
    SqsServer,
)
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("aws_environment")

BODIES = ["{}", "a\tb\nc\rd", '<Body>&amp;"', "é 漢 \U0001f600", "%41+b=c&d", " "]
DEADLINE_SECONDS = 30.0

# Status and name in each protocol; the first name is JSON's, the second is the query protocol's.
TRANSIENT = [
    Code("InternalFailure", "InternalFailure", 500, "com.amazon.coral.service"),
    Code("InternalError", "InternalError", 500),
    Code("ServiceUnavailable", "ServiceUnavailable", 503, "com.amazon.coral.availability"),
    Code("ThrottlingException", "Throttling", 400, "com.amazon.coral.availability"),
    Code("RequestThrottled", "RequestThrottled", 403),
    Code("KmsThrottled", "KMS.ThrottlingException"),
    Code("OverLimit", "OverLimit", 403),
    Code("SomethingNew", "SomethingNew"),
]
REFUSED = [
    Code("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
    Code("InvalidAddress", "InvalidAddress", 404),
    Code("InvalidSecurity", "InvalidSecurity", 403),
    Code("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
    Code("AccessDeniedException", "AccessDenied", 403, "com.amazon.coral.service"),
    Code("ExpiredTokenException", "ExpiredToken", 403, "com.amazon.coral.service"),
    Code("UnrecognizedClientException", "InvalidClientTokenId", 403, "com.amazon.coral.service"),
    Code("InvalidSignatureException", "SignatureDoesNotMatch", 403, "com.amazon.coral.service"),
    Code("IncompleteSignatureException", "IncompleteSignature", 403, "com.amazon.coral.service"),
    Code("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
    Code("OptInRequired", "OptInRequired", 403, "com.amazon.coral.service"),
    Code("RequestExpired", "RequestExpired", 400, "com.amazon.coral.service"),
    Code("NotAuthorized", "NotAuthorized", 400, "com.amazon.coral.service"),
    Code("InvalidAccessKeyId", "InvalidAccessKeyId", 403),
    Code("KmsAccessDenied", "KMS.AccessDeniedException"),
    Code("KmsDisabled", "KMS.DisabledException"),
    Code("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException"),
    Code("KmsInvalidState", "KMS.InvalidStateException"),
    Code("KmsNotFound", "KMS.NotFoundException"),
    Code("KmsOptInRequired", "KMS.OptInRequired", 403),
]


@dataclass
class Way:
    """A queue of an embedded server, and a transport to it."""

    server: SqsServer
    transport: Transport
    queue_url: str
    emitted: list[TelemetryEvent] = field(default_factory=list)

    def source(self, *, wait_seconds: int = 0, call_timeout_seconds: float = 30) -> SqsSource:
        return SqsSource(
            self.transport,
            self.queue_url,
            wait_seconds=wait_seconds,
            call_timeout_seconds=call_timeout_seconds,
            now=time.time,
            emit=self.emitted.append,
        )

    async def send(self, bodies: Sequence[str], fifo: FifoOrder | None = None) -> None:
        await send_batch(
            self.transport, self.queue_url, bodies, timeout_seconds=DEADLINE_SECONDS, fifo=fifo
        )

    async def attributes(self) -> QueueAttributes:
        return await queue_attributes(
            self.transport, self.queue_url, timeout_seconds=DEADLINE_SECONDS
        )

    def place(self, operation: str, fault: InjectedFault) -> None:
        """Let each call of the operation meet a fault."""

        def befalls(request: Request) -> InjectedFault | None:
            return fault if request.operation == operation else None

        self.server.fault_for = befalls


@pytest.fixture(params=["lean-json", "lean-query", "aiobotocore-json"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    transport: Literal["lean", "aiobotocore"] = "lean"
    if request.param.startswith("aiobotocore"):
        transport = "aiobotocore"
    protocol: Literal["json", "query"] = "query" if request.param.endswith("query") else "json"
    async with SqsServer(protocols=(protocol,)) as server:
        queue_url = server.create_queue("events")
        address = QueueAddress(
            queue_url, server.endpoint_url, transport=transport, protocol=protocol
        )
        async with open_transport(address) as opened:
            yield Way(server, opened, queue_url)


async def test_what_is_sent_is_received(way: Way) -> None:
    before_ms = int(time.time() * 1000)
    await way.send(BODIES)
    messages = await way.source().receive()
    assert [each.body for each in messages] == BODIES
    assert [each.size for each in messages] == [len(body.encode()) for body in BODIES]
    for message in messages:
        assert str(UUID(message.message_id)) == message.message_id
        assert before_ms <= message.sent_ms <= time.time() * 1000
    assert len({each.receipt_handle for each in messages}) == len(BODIES)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_mebibyte_is_received_whole(way: Way) -> None:
    body = "é" + "x" * (1024 * 1024 - 2)
    await way.send([body])
    (message,) = await way.source().receive()
    assert message.body == body
    assert message.size == 1024 * 1024


async def test_an_empty_queue_gives_nothing(way: Way) -> None:
    assert not await way.source().receive()
    assert not await way.source(wait_seconds=1).receive()


async def test_a_long_poll_ends_with_the_first_message(way: Way) -> None:
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(way.source(wait_seconds=20).receive())
        await eventually(lambda: way.server.calls["ReceiveMessage"] == 1)
        await way.send(["late"])
        async with asyncio.timeout(15):
            assert [each.body for each in await poll] == ["late"]


async def test_what_is_deleted_is_gone(way: Way) -> None:
    await way.send(BODIES)
    messages = await way.source().receive()
    assert not await way.source().delete(messages[:2])
    assert way.server.queue("events").in_flight == len(BODIES) - 2
    assert not await way.source().delete(())


async def test_an_entry_that_failed_is_returned_with_its_message(way: Way) -> None:
    await way.send(BODIES)
    messages = await way.source().receive()
    internal, expired = (
        Code("InternalError", "InternalError", 500),
        Code("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
    )
    way.place("DeleteMessageBatch", RefuseEntries({"1": internal, "3": expired}))
    refused = await way.source().delete(messages)
    assert [(each.message, each.code, each.handle_expired) for each in refused] == [
        (messages[1], "InternalError", False),
        (messages[3], "ReceiptHandleIsInvalid", True),
    ]
    assert way.server.queue("events").in_flight == 2


async def test_messages_are_hidden_for_longer_and_shown(way: Way) -> None:
    await way.send(["a", "b"])
    messages = await way.source().receive()
    assert not await way.source().extend(messages, 600)
    assert not await way.source().receive()
    assert not await way.source().extend(messages[:1], 0)
    (again,) = await way.source().receive()
    assert (again.body, again.message_id) == ("a", messages[0].message_id)
    assert not await way.source().extend((), 0)


async def test_a_message_that_is_gone_cannot_be_hidden(way: Way) -> None:
    await way.send(["a"])
    messages = await way.source().receive()
    await way.source().delete(messages)
    (refused,) = await way.source().extend(messages, 60)
    assert (refused.message, refused.handle_expired) == (messages[0], True)


async def test_the_queue_is_described(way: Way) -> None:
    way.server.create_queue("dead")
    policy = (
        '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 2}'
    )
    way.queue_url = way.server.create_queue(
        "other", {"VisibilityTimeout": "5", "RedrivePolicy": policy}
    )
    await way.send(["a", "b"])
    await way.source().receive()
    await way.send(["c"])
    found = await way.attributes()
    assert (found.visibility_seconds, found.max_receives, found.fifo) == (5, 2, False)
    assert (found.visible, found.in_flight) == (1, 2)
    assert len(found.warnings()) == 2


async def test_a_fifo_queue_keeps_order(way: Way) -> None:
    way.queue_url = way.server.create_queue("events.fifo", {"FifoQueue": "true"})
    await way.send(list("abc"), FifoOrder("group", "prefix-"))
    assert [each.body for each in await way.source().receive()] == list("abc")
    assert (await way.attributes()).fifo


async def test_a_queue_that_hides_nothing_is_refused(way: Way) -> None:
    queue_url = way.server.create_queue("open", {"VisibilityTimeout": "0"})
    with pytest.raises(QueueRefusedError, match="VisibilityTimeout is 0"):
        await queue_attributes(way.transport, queue_url, timeout_seconds=DEADLINE_SECONDS)


async def test_a_missing_queue_is_refused_with_advice(way: Way) -> None:
    way.queue_url += "-other"
    with pytest.raises(QueueRefusedError, match="create the queue"):
        await way.source().receive()


async def test_messages_that_were_not_sent_are_sent_again(way: Way) -> None:
    failures = iter([RefuseEntries({"0": Code("InternalError", "InternalError", 500)}), None])
    way.server.fault_for = lambda _: next(failures)
    await way.send(["a", "b"])
    assert way.server.calls["SendMessageBatch"] == 2
    assert way.server.queue("events").visible == 2


async def test_a_message_that_cannot_be_sent_is_an_error(way: Way) -> None:
    with pytest.raises(QueueError, match="1 messages were not sent"):
        await way.send(["good", "bell \x07"])
    assert way.server.queue("events").visible == 1


async def test_a_lone_surrogate_is_refused_and_not_a_crash(way: Way) -> None:
    with pytest.raises(QueueError):
        await way.send(["\ud800"])
    assert way.server.queue("events").visible == 0


async def test_transient_errors_are_no_refusals(way: Way) -> None:
    for code in TRANSIENT:
        way.place("ReceiveMessage", AnswerError(code))
        with pytest.raises(QueueError) as error:
            await way.source().receive()
        assert not isinstance(error.value, QueueRefusedError), code
        assert error.value.operation == "ReceiveMessage"
        assert error.value.code in {code.shape, code.query}


async def test_refusals_have_advice(way: Way) -> None:
    for code in REFUSED:
        way.place("DeleteMessageBatch", AnswerError(code))
        with pytest.raises(QueueRefusedError) as error:
            await way.source().delete([Message("id", "handle", "body", 0, 4)])
        names = {each.removeprefix("AWS.SimpleQueueService.") for each in (code.shape, code.query)}
        assert error.value.code in names
        assert str(error.value).endswith(")"), "without advice"


async def test_a_lost_connection_is_replaced_by_the_next_call(way: Way) -> None:
    way.place("ReceiveMessage", Disconnect())
    with pytest.raises(QueueError) as error:
        await way.source().receive()
    assert not isinstance(error.value, QueueRefusedError)
    way.server.fault_for = None
    assert not await way.source().receive()


async def test_a_call_without_an_answer_ends_in_its_time(way: Way) -> None:
    way.place("ReceiveMessage", Delay(3600))
    with pytest.raises(QueueError, match="Timeout"):
        await way.source(call_timeout_seconds=0.2).receive()
    way.server.fault_for = None
    assert not await way.source().receive()


async def test_a_cancelled_call_is_cancelled(way: Way) -> None:
    call = asyncio.create_task(way.source(wait_seconds=20).receive())
    await eventually(lambda: way.server.calls["ReceiveMessage"] == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await way.send(["kept"])
    assert [each.body for each in await way.source().receive()] == ["kept"]


async def test_a_server_that_is_gone_is_called_again(way: Way) -> None:
    await way.server.__aexit__(None, None, None)
    with pytest.raises(QueueError) as error:
        await way.source().receive()
    assert not isinstance(error.value, QueueRefusedError)
    await way.server.__aenter__()
    assert not await way.source().receive()


async def test_missing_credentials_are_refused_with_advice(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    transport: Literal["lean", "aiobotocore"] = (
        "lean" if type(way.transport).__name__ == "LeanTransport" else "aiobotocore"
    )
    address = QueueAddress(way.queue_url, way.server.endpoint_url, transport=transport)
    async with open_transport(address) as without:
        with pytest.raises(QueueRefusedError, match="NoCredentials"):
            await Way(way.server, without, way.queue_url).source().receive()


@pytest.mark.parametrize("protocols", [("json",), ("query",), ("json", "query")])
async def test_auto_speaks_what_the_server_speaks(
    protocols: tuple[Literal["json", "query"], ...],
) -> None:
    async with SqsServer(protocols=protocols) as server:
        queue_url = server.create_queue("events")
        async with open_transport(QueueAddress(queue_url, server.endpoint_url)) as transport:
            source = Way(server, transport, queue_url).source()
            await send_batch(transport, queue_url, BODIES, timeout_seconds=30)
            assert [each.body for each in await source.receive()] == BODIES
            server.calls.clear()
            await source.receive()
            # Chosen by the first response: no second call is made to find out.
            assert server.calls.total() == 1
