"""SQS's two protocols: how a request is read, and how a result or an error is written.

AWS JSON 1.0, which SDKs speak since the end of 2023: Smithy, "AWS JSON 1.0 protocol" and "AWS query
compatible". The query protocol, a form as the request and XML as the response, which older SDKs
speak: Amazon SQS Developer Guide, "Making Query API requests", and the XML examples of the API
Reference, version 2012-11-05.
"""

import json
import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from pydantic_core import PydanticSerializationError, from_json, to_json

from devkit.sqs.errors import MALFORMED, SqsError
from devkit.sqs.http import HttpRequest, HttpResponse
from devkit.sqs.requests import Json, Parameters

_TARGET = b"x-amz-target"
_TARGET_PREFIX = "AmazonSQS."
_JSON_TYPE = "application/x-amz-json-1.0"

_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_MAX_FIELDS = 2000
_INTEGERS = {"DelaySeconds", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds"}
_LISTS = {
    "AttributeName": "AttributeNames",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "SendMessageBatchRequestEntry": "Entries",
}
_MAPS = {
    "Attribute": "Attributes",
    "MessageAttribute": "MessageAttributes",
    "MessageSystemAttribute": "MessageSystemAttributes",
}
_RESULT_LISTS = {"Failed": "BatchResultErrorEntry", "Messages": "Message", "QueueUrls": "QueueUrl"}
_RESULT_MAPS = {plural: name for name, plural in _MAPS.items()}
# Markup, the carriage return, which readers would turn into a newline, and what XML cannot hold.
_ESCAPED = re.compile('[&<>"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENT = "\ufffd"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}

_Tree = dict[str, "str | _Tree"]


class JsonProtocol:
    def read(self, request: HttpRequest) -> tuple[str, Parameters]:
        """Return the operation's name and its parameters.

        Raises:
            SqsError: the request is malformed.
        """
        try:
            values = _parsed(request.body or b"{}")
        except (ValueError, RecursionError):
            raise SqsError(MALFORMED, "The request is not JSON.") from None
        if not isinstance(values, dict):
            raise SqsError(MALFORMED, "The request is not a JSON object.")
        return request.header(_TARGET).removeprefix(_TARGET_PREFIX), values

    def result(self, operation: str, result: Json) -> HttpResponse:
        del operation
        result = {} if result is None else result
        try:
            body = to_json(result)
        except PydanticSerializationError:
            # Lone surrogates are an error to the faster writer only.
            body = json.dumps(result).encode("ascii")
        return HttpResponse(200, _JSON_TYPE, body, {"x-amzn-RequestId": _request_id()})

    def error(self, error: SqsError) -> HttpResponse:
        code = error.code
        shape = {"__type": f"{code.namespace}#{code.shape}", "message": error.message}
        headers = {
            "x-amzn-RequestId": _request_id(),
            "x-amzn-query-error": f"{code.query};{code.fault}",
        }
        return HttpResponse(code.status, _JSON_TYPE, json.dumps(shape).encode("ascii"), headers)


class QueryProtocol:
    def read(self, request: HttpRequest) -> tuple[str, Parameters]:
        """See JsonProtocol; a request to a queue's own URL needs no QueueUrl."""
        path, _, query = request.target.partition("?")
        try:
            tree = _tree_of(request.body.decode() if request.method == "POST" else query)
            values = dict(pair for field in tree.items() for pair in _field(*field))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise SqsError(MALFORMED, "The form is malformed.") from None
        return str(values.get("Action", "")), {"QueueUrl": path, **values}

    def result(self, operation: str, result: Json) -> HttpResponse:
        inner = "" if result is None else _elements(f"{operation}Result", result, operation)
        return _xml(
            200,
            f'<{operation}Response xmlns="{_NAMESPACE}">{inner}<ResponseMetadata>'
            f"<RequestId>{_request_id()}</RequestId></ResponseMetadata></{operation}Response>",
        )

    def error(self, error: SqsError) -> HttpResponse:
        code = error.code
        return _xml(
            code.status,
            f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{code.fault}</Type>'
            f"<Code>{code.query}</Code><Message>{_escaped(error.message)}</Message><Detail/>"
            f"</Error><RequestId>{_request_id()}</RequestId></ErrorResponse>",
        )


WireProtocol = JsonProtocol | QueryProtocol


def is_json(request: HttpRequest) -> bool:
    return request.header(_TARGET).startswith(_TARGET_PREFIX)


def _request_id() -> str:
    return secrets.token_hex(16)


def _parsed(body: bytes) -> object:
    try:
        return from_json(body)
    except ValueError:
        # Lone surrogates are an error to the faster parser only.
        return json.loads(body)


def _tree_of(form: str) -> _Tree:
    """Nest `A.1.B=v` as {"A": {"1": {"B": "v"}}}."""
    fields = parse_qsl(form, strict_parsing=bool(form), errors="strict", max_num_fields=_MAX_FIELDS)
    root: _Tree = {}
    for path, value in fields:
        *parents, name = path.split(".")
        node = root
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, str):
                raise ValueError  # noqa: TRY004 the form's fault, not a caller's
            node = child
        node[name] = value
    return root


def _field(name: str, value: "str | _Tree") -> list[tuple[str, Json]]:
    if isinstance(value, str):
        return [(name, int(value) if name in _INTEGERS else value)]
    if name in _LISTS:
        return [(_LISTS[name], [_shape(item) for item in _in_order(value)])]
    if name in _MAPS:
        items = [item for item in _in_order(value) if isinstance(item, dict)]
        return [(_MAPS[name], {str(item["Name"]): _shape(item.get("Value", "")) for item in items})]
    return [(name, _shape(value))]


def _shape(value: "str | _Tree") -> Json:
    if isinstance(value, str):
        return value
    return {name: item for field in value.items() for name, item in _field(*field)}


def _in_order(tree: _Tree) -> "list[str | _Tree]":
    return [tree[number] for number in sorted(tree, key=int)]


def _elements(name: str, value: Json, operation: str) -> str:
    if isinstance(value, Mapping) and name in _RESULT_MAPS:
        element = _RESULT_MAPS[name]
        return "".join(
            f"<{element}><Name>{_escaped(item)}</Name>"
            f"{_elements('Value', each, operation)}</{element}>"
            for item, each in value.items()
        )
    if isinstance(value, Mapping):
        inner = "".join(_elements(key, item, operation) for key, item in value.items())
        return f"<{name}>{inner}</{name}>"
    if isinstance(value, list):
        element = _RESULT_LISTS.get(name, f"{operation}ResultEntry")
        return "".join(_elements(element, item, operation) for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{_escaped(text)}</{name}>"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[0], _REPLACEMENT), text)


def _xml(status: int, root: str) -> HttpResponse:
    return HttpResponse(status, "text/xml", f'<?xml version="1.0"?>{root}'.encode())
