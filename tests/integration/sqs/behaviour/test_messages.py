"""Sending and receiving one message: what is sent is received, with digests and attributes."""

import hashlib

import pytest

from tests.integration.sqs.behaviour.errors import (
    INVALID_PARAMETER,
    MISSING_PARAMETER,
    NO_QUEUE,
    refusal,
)
from tests.integration.sqs.behaviour.servers import Sqs

MIB = 1024 * 1024
# Name, type and value, each after its length; 1 says that the value is text, 2 that it is bytes
# (Developer Guide, "Calculating the MD5 message digest for message attributes").
TEXT_ATTRIBUTE = b"\0\0\0\x04kind\0\0\0\x06String\x01\0\0\0\x05login"
BYTES_ATTRIBUTE = b"\0\0\0\x03raw\0\0\0\x06Binary\x02\0\0\0\x02\x00\xff"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def test_a_body_comes_back_as_it_was_sent_with_its_digest(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for body in ("{}", "a\tb\nc\rd\r\ne", "<B>&amp;\"'</B>", "é 漢 \U0001f600", " ", "%41+b=c&d"):
        sent = await sqs.client.send_message(QueueUrl=queue_url, MessageBody=body)
        (message,) = await sqs.receive_all(queue_url, 1)
        assert message["Body"] == body
        assert message["MessageId"] == sent["MessageId"]
        assert message["MD5OfBody"] == sent["MD5OfMessageBody"] == md5(body.encode())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_body_may_have_a_mebibyte(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    body = "é" + "x" * (MIB - 2)
    await sqs.send(queue_url, body)
    (message,) = await sqs.receive_all(queue_url, 1)
    assert message["Body"] == body


async def test_a_message_tells_when_it_was_sent_and_how_often_received(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    before_ms = int(sqs.now() * 1000) - 60_000
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    attributes = message["Attributes"]
    assert before_ms < int(attributes["SentTimestamp"]) < before_ms + 120_000
    assert attributes["ApproximateReceiveCount"] == "1"
    first_ms = int(attributes["ApproximateFirstReceiveTimestamp"])
    assert first_ms >= int(attributes["SentTimestamp"])
    assert attributes["SenderId"]


@pytest.mark.parametrize("parameter", ["AttributeNames", "MessageSystemAttributeNames"])
async def test_system_attributes_are_given_as_asked_by_either_name(
    sqs: Sqs, parameter: str
) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    asked = {parameter: ["SentTimestamp"]}
    answer = await sqs.client.receive_message(
        QueueUrl=queue_url,
        WaitTimeSeconds=5,
        **asked,  # type: ignore[arg-type] # one of the two names
    )
    assert answer["Messages"][0]["Attributes"].keys() == {"SentTimestamp"}


async def test_without_asking_no_attributes_are_given(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    answer = await sqs.client.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5)
    assert answer["Messages"][0].keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}


async def test_message_attributes_come_back_with_their_types_and_digest(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    sent = await sqs.client.send_message(
        QueueUrl=queue_url,
        MessageBody="body",
        MessageAttributes={
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "kind": {"DataType": "String", "StringValue": "login"},
        },
    )
    (message,) = await sqs.receive_all(queue_url, 1)
    shown = message["MessageAttributes"]
    assert shown["kind"]["StringValue"] == "login"
    assert shown["kind"]["DataType"] == "String"
    assert shown["raw"]["BinaryValue"] == b"\x00\xff"
    assert shown["raw"]["DataType"] == "Binary"
    digest = md5(TEXT_ATTRIBUTE + BYTES_ATTRIBUTE)
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] == digest


async def test_message_attributes_are_given_as_asked(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.client.send_message(
        QueueUrl=queue_url,
        MessageBody="body",
        MessageAttributes={
            name: {"DataType": "Number.int", "StringValue": "1"} for name in ("a.one", "a.two", "b")
        },
    )
    for asked, given in (
        ("All", {"a.one", "a.two", "b"}),
        (".*", {"a.one", "a.two", "b"}),
        ("a.*", {"a.one", "a.two"}),
        ("b", {"b"}),
        ("c", set()),
    ):
        answer = await sqs.client.receive_message(
            QueueUrl=queue_url,
            WaitTimeSeconds=5,
            VisibilityTimeout=0,
            MessageAttributeNames=[asked],
        )
        assert answer["Messages"][0].get("MessageAttributes", {}).keys() == given, asked


async def test_the_trace_header_is_a_system_attribute(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    header = "Root=1-5759e988-bd862e3fe1be46a994272793"
    await sqs.client.send_message(
        QueueUrl=queue_url,
        MessageBody="body",
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
    )
    (message,) = await sqs.receive_all(queue_url, 1)
    assert message["Attributes"]["AWSTraceHeader"] == header


async def test_a_message_comes_only_after_its_own_delay(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.client.send_message(QueueUrl=queue_url, MessageBody="late", DelaySeconds=2)
    assert await sqs.is_empty(queue_url)
    assert await sqs.counts(queue_url) == (0, 0, 1)
    await sqs.pass_time(2.1)
    assert [each["Body"] for each in await sqs.receive_all(queue_url, 1)] == ["late"]


async def test_a_queue_delays_what_says_nothing_else(sqs: Sqs) -> None:
    queue_url = await sqs.queue(DelaySeconds="2")
    await sqs.client.send_message(QueueUrl=queue_url, MessageBody="now", DelaySeconds=0)
    await sqs.send(queue_url, "late")
    assert [each["Body"] for each in await sqs.receive_all(queue_url, 1)] == ["now"]
    await sqs.pass_time(2.1)
    assert [each["Body"] for each in await sqs.receive_all(queue_url, 1)] == ["late"]


async def test_one_receive_gives_as_many_as_asked_and_one_unless_asked(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, *"abcdef")
    answer = await sqs.client.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5)
    assert len(answer["Messages"]) == 1
    assert 1 <= len(await sqs.receive(queue_url, 3)) <= 3


async def test_characters_outside_of_xml_are_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for body in ("nul \0", "bell \x07", "\ufffe"):
        code = await refusal(sqs.client.send_message(QueueUrl=queue_url, MessageBody=body))
        assert code == "InvalidMessageContents"


async def test_an_empty_body_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    code = await refusal(sqs.client.send_message(QueueUrl=queue_url, MessageBody=""))
    assert code == MISSING_PARAMETER


async def test_a_body_beyond_the_queues_maximum_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue(MaximumMessageSize="1024")
    await sqs.send(queue_url, "x" * 1024)
    code = await refusal(sqs.client.send_message(QueueUrl=queue_url, MessageBody="x" * 1025))
    assert code == INVALID_PARAMETER


async def test_attributes_count_towards_a_messages_size(sqs: Sqs) -> None:
    queue_url = await sqs.queue(MaximumMessageSize="1024")
    code = await refusal(
        sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody="x" * 1000,
            MessageAttributes={"name": {"DataType": "String", "StringValue": "y" * 20}},
        )
    )
    assert code == INVALID_PARAMETER


async def test_an_attribute_of_a_bad_name_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for name in ("AWS.own", "amazon.own", ".first", "last.", "two..dots", "a b", "x" * 257):
        sending = sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody="body",
            MessageAttributes={name: {"DataType": "String", "StringValue": "1"}},
        )
        assert await refusal(sending) == INVALID_PARAMETER, name


async def test_an_attribute_of_a_bad_type_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for data_type in ("Text", "string", ""):
        sending = sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody="body",
            MessageAttributes={"name": {"DataType": data_type, "StringValue": "1"}},
        )
        assert await refusal(sending) in {INVALID_PARAMETER, MISSING_PARAMETER}, data_type


async def test_more_than_ten_attributes_are_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    code = await refusal(
        sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody="body",
            MessageAttributes={
                f"name{i}": {"DataType": "String", "StringValue": "1"} for i in range(11)
            },
        )
    )
    assert code == INVALID_PARAMETER


async def test_a_delay_out_of_range_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for seconds in (-1, 901):
        sending = sqs.client.send_message(
            QueueUrl=queue_url, MessageBody="body", DelaySeconds=seconds
        )
        assert await refusal(sending) == INVALID_PARAMETER, seconds


async def test_a_receive_out_of_range_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    for options in (
        {"MaxNumberOfMessages": 0},
        {"MaxNumberOfMessages": 11},
        {"WaitTimeSeconds": -1},
        {"WaitTimeSeconds": 21},
        {"VisibilityTimeout": -1},
        {"VisibilityTimeout": 43_201},
    ):
        receiving = sqs.client.receive_message(
            QueueUrl=queue_url,
            **options,  # type: ignore[arg-type] # one of the three
        )
        assert await refusal(receiving) == INVALID_PARAMETER, options


async def test_calls_to_a_queue_that_is_not_there_are_refused(sqs: Sqs) -> None:
    queue_url = (await sqs.queue()) + "-other"
    assert await refusal(sqs.client.receive_message(QueueUrl=queue_url)) == NO_QUEUE
    sending = sqs.client.send_message(QueueUrl=queue_url, MessageBody="body")
    assert await refusal(sending) == NO_QUEUE
    assert await refusal(sqs.client.get_queue_attributes(QueueUrl=queue_url)) == NO_QUEUE
