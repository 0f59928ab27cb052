"""SQS's older protocol: the request is a form, the response is XML.

LocalStack before version 3 speaks no other. Names and shapes: Amazon SQS Developer Guide,
"Making Query API requests", and the API's version 2012-11-05.
"""

from collections.abc import Iterator
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from consumer.sqs.api import Entry, FailedEntry, Operation, Payload, ReceivedMessage, Response

_VERSION = "2012-11-05"
_LIST_NAMES = {
    ("ReceiveMessage", "AttributeNames"): "AttributeName",
    ("GetQueueAttributes", "AttributeNames"): "AttributeName",
    ("SendMessageBatch", "Entries"): "SendMessageBatchRequestEntry",
    ("DeleteMessageBatch", "Entries"): "DeleteMessageBatchRequestEntry",
    ("ChangeMessageVisibilityBatch", "Entries"): "ChangeMessageVisibilityBatchRequestEntry",
}


class NotXmlError(Exception):
    """The response is not of this protocol."""


def encode(operation: Operation, payload: Payload) -> bytes:
    fields = [("Action", operation), ("Version", _VERSION)]
    for name, value in payload.items():
        if isinstance(value, str | int):
            fields.append((name, str(value)))
            continue
        for number, item in enumerate(value, 1):
            prefix = f"{_LIST_NAMES[operation, name]}.{number}"
            fields.extend(_flat(prefix, item))
    return urlencode(fields, errors="surrogatepass").encode()


def _flat(prefix: str, item: str | Entry) -> Iterator[tuple[str, str]]:
    if isinstance(item, str):
        yield prefix, item
    else:
        yield from ((f"{prefix}.{name}", str(value)) for name, value in item.items())


def decode(operation: Operation, body: bytes) -> Response:
    """Return the response in the shape of the JSON protocol."""
    root = _parse(body)
    if operation == "ReceiveMessage":
        return {"Messages": [_message(each) for each in _named(root, "Message")]}
    if operation == "GetQueueAttributes":
        return {"Attributes": _attributes(root)}
    return {"Failed": [_failed(each) for each in _named(root, "BatchResultErrorEntry")]}


def error_code(body: bytes) -> str:
    """Return the code of an error response."""
    return next((_text(each, "Code") for each in _named(_parse(body), "Error")), "Unknown")


def _parse(body: bytes) -> Element:
    try:
        return fromstring(body)  # noqa: S314 - from the queue's own server; expat bounds expansion
    except ParseError:
        raise NotXmlError from None


def _message(element: Element) -> ReceivedMessage:
    return {
        "MessageId": _text(element, "MessageId"),
        "ReceiptHandle": _text(element, "ReceiptHandle"),
        "Body": _text(element, "Body"),
        "MD5OfBody": _text(element, "MD5OfBody"),
        "Attributes": _attributes(element),
    }


def _attributes(element: Element) -> dict[str, str]:
    return {_text(each, "Name"): _text(each, "Value") for each in _named(element, "Attribute")}


def _failed(element: Element) -> FailedEntry:
    return {
        "Id": _text(element, "Id"),
        "Code": _text(element, "Code"),
        "SenderFault": _text(element, "SenderFault") == "true",
    }


def _named(element: Element, name: str) -> Iterator[Element]:
    """Find elements by their local name: not every server sets the namespace."""
    return (each for each in element.iter() if each.tag.rpartition("}")[2] == name)


def _text(element: Element, name: str) -> str:
    return next((each.text or "" for each in element if each.tag.rpartition("}")[2] == name), "")
