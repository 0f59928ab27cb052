"""What the query protocol's XML becomes."""

import pytest

from consumer.sqs.query import NotXmlError, decode, error_code

NAMESPACE = b'xmlns="http://queue.amazonaws.com/doc/2012-11-05/"'


def received(message: bytes, namespace: bytes = b"") -> object:
    body = b"<ReceiveMessageResponse %b><ReceiveMessageResult>%b</ReceiveMessageResult>" % (
        namespace,
        message,
    )
    return decode("ReceiveMessage", body + b"</ReceiveMessageResponse>")["Messages"]


@pytest.mark.parametrize("namespace", [NAMESPACE, b""])
def test_a_message_has_its_members_and_attributes(namespace: bytes) -> None:
    message = (
        b"<Message><MessageId>1</MessageId><Body>&lt;a&gt;</Body>"
        b"<Attribute><Name>SentTimestamp</Name><Value>5</Value></Attribute></Message>"
    )
    assert received(message, namespace) == [
        {"MessageId": "1", "Body": "<a>", "Attributes": {"SentTimestamp": "5"}}
    ]


def test_a_member_that_is_missing_or_has_children_is_left_out() -> None:
    assert received(b"<Message><Body>a<b/></Body></Message>") == [{"Attributes": {}}]


@pytest.mark.parametrize("attribute", [b"<Name>a</Name>", b"<Value>5</Value>"])
def test_half_an_attribute_is_left_out(attribute: bytes) -> None:
    message = b"<Message><Attribute>%b</Attribute></Message>" % attribute
    assert received(message) == [{"Attributes": {}}]


def test_a_batch_lists_what_succeeded_and_what_failed() -> None:
    body = (
        b"<DeleteMessageBatchResponse><DeleteMessageBatchResult>"
        b"<DeleteMessageBatchResultEntry><Id>0</Id></DeleteMessageBatchResultEntry>"
        b"<BatchResultErrorEntry><Id>1</Id><Code>x</Code><SenderFault>true</SenderFault>"
        b"</BatchResultErrorEntry></DeleteMessageBatchResult></DeleteMessageBatchResponse>"
    )
    assert decode("DeleteMessageBatch", body) == {
        "Successful": [{"Id": "0"}],
        "Failed": [{"Id": "1", "Code": "x", "SenderFault": True}],
    }


@pytest.mark.parametrize("body", [b"", b"{}", b"<html/>", b"<SendMessageBatchResponse/>"])
def test_what_is_not_the_operations_response_is_refused(body: bytes) -> None:
    with pytest.raises(NotXmlError):
        decode("DeleteMessageBatch", body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<ErrorResponse><Error><Code>OverLimit</Code></Error></ErrorResponse>", "OverLimit"),
        (b"<ErrorResponse><Error/></ErrorResponse>", ""),
        (b"<html/>", ""),
    ],
)
def test_an_error_has_its_code(body: bytes, code: str) -> None:
    assert error_code(body) == code
