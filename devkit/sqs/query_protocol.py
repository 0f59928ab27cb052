"""The query protocol: a form as the request, XML as the answer; what older SDKs speak.

Shapes: Amazon SQS Developer Guide, "Making Query API requests", and the XML examples of the API
Reference, version 2012-11-05.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from devkit.sqs.errors import MALFORMED, SqsError
from devkit.sqs.parameters import Json, Parameters

CONTENT_TYPE = "text/xml"

_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_MAX_FIELDS = 2000

_Tree = dict[str, "str | _Tree"]

_INTEGERS = {
    "DelaySeconds",
    "MaxNumberOfMessages",
    "MaxNumberOfMessagesPerSecond",
    "MaxResults",
    "VisibilityTimeout",
    "WaitTimeSeconds",
}
_LISTS = {
    "AttributeName": "AttributeNames",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "SendMessageBatchRequestEntry": "Entries",
    "TagKey": "TagKeys",
}
_MAPS = {
    "Attribute": ("Attributes", "Name"),
    "MessageAttribute": ("MessageAttributes", "Name"),
    "MessageSystemAttribute": ("MessageSystemAttributes", "Name"),
    "Tag": ("Tags", "Key"),
}
_ANSWERED_LISTS = {
    "Failed": "BatchResultErrorEntry",
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Results": "ListMessageMoveTasksResultEntry",
}
_ANSWERED_MAPS = {plural: (name, key) for name, (plural, key) in _MAPS.items()}
# Markup, the carriage return, which readers would turn into a newline, and what XML cannot hold.
_ESCAPED = re.compile('[&<>"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENT = "\ufffd"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def read_call(form: bytes) -> tuple[str, Parameters]:
    """Return the operation's name and its parameters, in the shapes of the JSON protocol.

    Raises:
        SqsError: the form is malformed.
    """
    try:
        fields = parse_qsl(
            form.decode(),
            keep_blank_values=True,
            strict_parsing=bool(form),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
        tree = _tree(fields)
        values = {name: value for field in tree.items() for name, value in _field(*field)}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise SqsError(MALFORMED, "The form is malformed.") from None
    action = tree.get("Action")
    return action if isinstance(action, str) else "", values


def result_body(operation: str, result: Json, request_id: str) -> bytes:
    """Return the body of a successful answer; None is the result of operations that have none."""
    inner = "" if result is None else _elements(f"{operation}Result", result, operation)
    return (
        f'<?xml version="1.0"?><{operation}Response xmlns="{_NAMESPACE}">{inner}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    ).encode()


def error_body(error: SqsError, request_id: str) -> bytes:
    """Return the body of a failed answer."""
    fault = "Sender" if error.code.is_senders else "Receiver"
    return (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{fault}</Type>'
        f"<Code>{error.code.query}</Code><Message>{_escaped(error.message)}</Message><Detail/>"
        f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _tree(fields: list[tuple[str, str]]) -> _Tree:
    """Nest `A.1.B=v` as {"A": {"1": {"B": "v"}}}."""
    root: _Tree = {}
    for path, value in fields:
        *parents, name = path.split(".")
        node = root
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, str):
                raise ValueError  # noqa: TRY004 - the form's fault, not a caller's
            node = child
        node[name] = value
    return root


def _field(name: str, value: "str | _Tree") -> list[tuple[str, Json]]:
    if isinstance(value, str):
        return [(name, int(value) if name in _INTEGERS else value)]
    if name in _LISTS:
        return [(_LISTS[name], [_shape(item) for item in _in_order(value)])]
    if name in _MAPS:
        plural, key = _MAPS[name]
        items = [item for item in _in_order(value) if isinstance(item, dict)]
        return [(plural, {str(item[key]): _shape(item["Value"]) for item in items})]
    return [(name, _shape(value))]


def _shape(value: "str | _Tree") -> Json:
    if isinstance(value, str):
        return value
    return {name: item for field in value.items() for name, item in _field(*field)}


def _in_order(tree: _Tree) -> "list[str | _Tree]":
    return [tree[number] for number in sorted(tree, key=int)]


def _elements(name: str, value: Json, operation: str) -> str:
    if isinstance(value, Mapping):
        if name in _ANSWERED_MAPS:
            element, key = _ANSWERED_MAPS[name]
            return "".join(
                f"<{element}><{key}>{_escaped(item)}</{key}>"
                f"{_elements('Value', each, operation)}</{element}>"
                for item, each in value.items()
            )
        inner = "".join(_elements(key, item, operation) for key, item in value.items())
        return f"<{name}>{inner}</{name}>"
    if isinstance(value, list):
        element = _ANSWERED_LISTS.get(name, f"{operation}ResultEntry")
        return "".join(_elements(element, item, operation) for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{_escaped(text)}</{name}>"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[0], _REPLACEMENT), text)
