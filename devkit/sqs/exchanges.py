"""One request and its answer, in whichever protocol the client speaks."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from devkit.sqs import json_protocol, query_protocol
from devkit.sqs.connection import HttpConnection
from devkit.sqs.errors import SqsError
from devkit.sqs.framing import Head
from devkit.sqs.parameters import Json, Parameters

ProtocolName: TypeAlias = Literal["json", "query"]


class Exchange(Protocol):
    """A request that names an operation, and the way to answer it; only one answer is sent."""

    connection: HttpConnection
    operation: str
    base_url: str

    def parameters(self) -> Parameters:
        """Return the parameters.

        Raises:
            SqsError: the request is malformed.
        """

    def succeed(self, result: Json) -> None:
        """Answer with the operation's result."""

    def fail(self, error: SqsError) -> None:
        """Answer with an error."""


def exchange_of(
    connection: HttpConnection,
    head: Head,
    body: bytes,
    default_url: str,
    protocols: Collection[ProtocolName],
) -> Exchange:
    """Return the exchange that a request begins.

    A server of one protocol takes everything for a request in it, malformed as it may be then.
    """
    host = head.headers.get("host")
    base_url = f"http://{host}" if host else default_url
    target = head.headers.get("x-amz-target", "")
    is_json = target.startswith(json_protocol.TARGET_PREFIX)
    if "json" in protocols and (is_json or "query" not in protocols):
        operation = target.removeprefix(json_protocol.TARGET_PREFIX)
        return JsonExchange(connection, operation, base_url, body)
    path, _, query = head.target.partition("?")
    form = body if head.method == "POST" else query.encode("latin-1")
    return QueryExchange(connection, base_url, path, form)


@dataclass(slots=True)
class JsonExchange:
    """An exchange in AWS JSON 1.0."""

    connection: HttpConnection
    operation: str
    base_url: str
    body: bytes

    def parameters(self) -> Parameters:
        """See Exchange."""
        return json_protocol.read_parameters(self.body)

    def succeed(self, result: Json) -> None:
        """See Exchange."""
        headers = {"x-amzn-RequestId": request_id()}
        body = json_protocol.result_body(result)
        self.connection.respond(200, json_protocol.CONTENT_TYPE, body, headers)

    def fail(self, error: SqsError) -> None:
        """See Exchange."""
        headers = {"x-amzn-RequestId": request_id(), **json_protocol.error_headers(error)}
        body = json_protocol.error_body(error)
        self.connection.respond(error.code.status, json_protocol.CONTENT_TYPE, body, headers)


class QueryExchange:
    """An exchange in the query protocol; a request to a queue's own URL needs no QueueUrl."""

    def __init__(self, connection: HttpConnection, base_url: str, path: str, form: bytes) -> None:
        self.connection = connection
        self.base_url = base_url
        self.operation = ""
        self._malformed: SqsError | None = None
        self._parameters: Parameters = {}
        try:
            self.operation, given = query_protocol.read_call(form)
        except SqsError as error:
            self._malformed = error
        else:
            self._parameters = {"QueueUrl": path, **given}

    def parameters(self) -> Parameters:
        """See Exchange."""
        if self._malformed is not None:
            raise self._malformed
        return self._parameters

    def succeed(self, result: Json) -> None:
        """See Exchange."""
        body = query_protocol.result_body(self.operation, result, request_id())
        self.connection.respond(200, query_protocol.CONTENT_TYPE, body, {})

    def fail(self, error: SqsError) -> None:
        """See Exchange."""
        body = query_protocol.error_body(error, request_id())
        self.connection.respond(error.code.status, query_protocol.CONTENT_TYPE, body, {})


def request_id() -> str:
    """Return an id for an answer; nobody checks it."""
    return secrets.token_hex(16)
