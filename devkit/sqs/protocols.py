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
_RESULT_LISTS = {"Failed": "BatchResultErrorEntry", "Messages": "Message", "QueueUrls": "QueueUrl"}
_RESULT_MAPS = {"Attributes": "Attribute", "MessageAttributes": "MessageAttribute"}
# Markup, the carriage return, which readers would turn into a newline, and what XML cannot hold.
_ESCAPED = re.compile('[&<>"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENT = "\ufffd"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}

_Tree = dict[str, "str | _Tree"]


class JsonProtocol:
    def read(self, request: HttpRequest) -> tuple[str, Parameters]:
        """Return the operation's name and its parameters."""
        try:
            values = _parsed(request.body or b"{}")
        except (ValueError, RecursionError):
            values = None
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
        query_error = {"x-amzn-query-error": f"{code.query};{code.fault}"}
        headers = {"x-amzn-RequestId": _request_id()} | query_error
        return HttpResponse(code.status, _JSON_TYPE, json.dumps(shape).encode("ascii"), headers)


class QueryProtocol:
    def read(self, request: HttpRequest) -> tuple[str, Parameters]:
        """See JsonProtocol; a request to a queue's own URL needs no QueueUrl."""
        path, _, query = request.target.partition("?")
        try:
            values = _shape(_tree_of(request.body.decode() if request.method == "POST" else query))
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise SqsError(MALFORMED, "The form is malformed.") from None
        return str(values.get("Action", "")), {"QueueUrl": path, **values}

    def result(self, operation: str, result: Json) -> HttpResponse:
        inner = "" if result is None else _elements(f"{operation}Result", result, operation)
        metadata = f"<ResponseMetadata><RequestId>{_request_id()}</RequestId></ResponseMetadata>"
        return _xml(200, f"{operation}Response", inner + metadata)

    def error(self, error: SqsError) -> HttpResponse:
        code, message = error.code, _escaped(error.message)
        inner = (
            f"<Error><Type>{code.fault}</Type><Code>{code.query}</Code><Message>{message}</Message>"
            f"<Detail/></Error><RequestId>{_request_id()}</RequestId>"
        )
        return _xml(code.status, "ErrorResponse", inner)


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


def _shape(tree: _Tree) -> dict[str, Json]:
    """Turn `Name.1`, `Name.2` into the list Names, or into a map if each has a Name and a Value."""
    shape: dict[str, Json] = {}
    for name, value in tree.items():
        if isinstance(value, str):
            shape[name] = int(value) if name in _INTEGERS else value
        elif not all(key.isdecimal() for key in value):
            shape[name] = _shape(value)
        else:
            items = [value[number] for number in sorted(value, key=int)]
            shaped = [item if isinstance(item, str) else _shape(item) for item in items]
            named = [item for item in shaped if isinstance(item, dict) and "Name" in item]
            plural = "Entries" if name.endswith("BatchRequestEntry") else f"{name}s"
            shape[plural] = {str(i["Name"]): i.get("Value", "") for i in named} if named else shaped
    return shape


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


def _xml(status: int, root: str, inner: str) -> HttpResponse:
    text = f'<?xml version="1.0"?><{root} xmlns="{_NAMESPACE}">{inner}</{root}>'
    return HttpResponse(status, "text/xml", text.encode())
