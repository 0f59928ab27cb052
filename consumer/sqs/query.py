"""SQS's older protocol: the request is a form, the response is XML.

LocalStack before version 3 speaks no other. Names and shapes: Amazon SQS Developer Guide,
"Making Query API requests", and the API's version 2012-11-05.
"""

from collections.abc import Iterator
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from consumer.sqs.api import Entry, Operation, Payload, Response

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
    if _name(root) != f"{operation}Response":
        raise NotXmlError
    if operation == "ReceiveMessage":
        return {"Messages": [_message(each) for each in _named(root, "Message")]}
    if operation == "GetQueueAttributes":
        return {"Attributes": _attributes(root)}
    return {
        "Successful": [_texts(each) for each in _named(root, f"{operation}ResultEntry")],
        "Failed": [_failed(each) for each in _named(root, "BatchResultErrorEntry")],
    }


def error_code(body: bytes) -> str:
    """Return the code of an error response."""
    return next((_texts(each).get("Code", "") for each in _named(_parse(body), "Error")), "")


def _parse(body: bytes) -> Element:
    try:
        return fromstring(body)  # noqa: S314 - from the queue's own server; expat bounds expansion
    # The latter two are for encodings that Python or expat does not know.
    except (ParseError, LookupError, ValueError):
        raise NotXmlError from None


def _message(element: Element) -> dict[str, object]:
    return _texts(element) | {"Attributes": _attributes(element)}


def _attributes(element: Element) -> dict[str, str]:
    found = [_texts(each) for each in _named(element, "Attribute")]
    return {each["Name"]: each["Value"] for each in found if each.keys() >= {"Name", "Value"}}


def _failed(element: Element) -> dict[str, object]:
    texts = _texts(element)
    return texts | {"SenderFault": texts.get("SenderFault") == "true"}


def _named(element: Element, name: str) -> Iterator[Element]:
    return (each for each in element.iter() if _name(each) == name)


def _name(element: Element) -> str:
    """Return the local name: not every server sets the namespace."""
    return element.tag.rpartition("}")[2]


def _texts(element: Element) -> dict[str, str]:
    """Return the text of each child that has no children of its own."""
    return {_name(each): each.text or "" for each in element if not len(each)}
