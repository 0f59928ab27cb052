"""Calls SQS with an HTTP client and a signer of our own, at a fraction of a general client's CPU.

Credentials, their refresh and regions stay aiobotocore's.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import get_args
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError, from_json, to_json

from consumer.errors import QueueError, QueueRefusedError
from consumer.sqs import query
from consumer.sqs.api import Operation, Payload, Response, WireProtocol, error_of
from consumer.sqs.http import HttpClient, HttpError, HttpResponse
from consumer.sqs.signing import Credentials, Headers, Signer

_OK = 200
# Responses of a proxy before the server, or of a server that is busy: they show no protocol.
_SHOW_NO_PROTOCOL = (429, 502, 503, 504)
_KNOWN_MEMBERS = frozenset({"Messages", "Failed", "Successful", "Attributes"})
# What may be sent again when a connection ended before its response. A repeated receive would hide
# ten more messages, and a repeated send would send its messages twice.
_IDEMPOTENT: frozenset[Operation] = frozenset(
    {"DeleteMessageBatch", "ChangeMessageVisibilityBatch", "GetQueueAttributes"}
)
_JSON_HEADERS: dict[Operation, Headers] = {
    operation: (
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", f"AmazonSQS.{operation}"),
    )
    for operation in get_args(Operation)
}
_QUERY_HEADERS: Headers = (("content-type", "application/x-www-form-urlencoded"),)


class LeanTransport:
    """Speaks AWS JSON 1.0 or the query protocol; with `protocol` None, whichever the server speaks.

    `credentials` is called before every request, so that rotated ones are used at once. It is given
    the call's deadline, by the event loop's clock. `now` is the wall clock, in seconds since the
    epoch.
    """

    def __init__(
        self,
        client: HttpClient,
        signer: Signer,
        credentials: Callable[[float], Awaitable[Credentials]],
        now: Callable[[], float],
        protocol: WireProtocol | None = None,
    ) -> None:
        self._client = client
        self._signer = signer
        self._credentials = credentials
        self._now = now
        self._protocol = protocol

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        """Call once within `seconds`; see Transport."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            return await self._call(operation, payload, deadline)
        except ssl.SSLCertVerificationError:
            failure = error_of(operation, "CertificateNotTrusted")
        except UnicodeEncodeError:  # its `object` is a secret key or the request
            advice = (
                "check the AWS credentials and sqs.queue_url:"
                " one has a character that no header can have"
            )
            failure = QueueRefusedError(operation, "UnicodeEncodeError", advice)
        except HttpError:
            failure = QueueError(operation, "HttpError")
        # RuntimeError: uvloop's, when the peer has just closed the connection that is written to.
        except (OSError, TimeoutError, RuntimeError) as error:
            failure = QueueError(operation, type(error).__name__)
        raise failure

    async def _call(self, operation: Operation, payload: Payload, deadline: float) -> Response:
        if self._protocol == "query":
            return await self._call_query(operation, payload, deadline)
        body = _json_bytes(payload)
        response = await self._post(operation, "/", _JSON_HEADERS[operation], body, deadline)
        decoded = _json_object(response.body)
        if decoded is not None and "__type" in decoded:
            raise error_of(operation, decoded["__type"])
        if decoded is None or not self._is_result(response.status, decoded):
            return await self._not_json(operation, payload, response, deadline)
        self._protocol = "json"
        return decoded

    def _is_result(self, status: int, decoded: Response) -> bool:
        """Whether a JSON object is a response of this protocol, and not of something else's."""
        is_known = not decoded or not _KNOWN_MEMBERS.isdisjoint(decoded)
        return status == _OK and (is_known or self._protocol == "json")

    async def _not_json(
        self, operation: Operation, payload: Payload, response: HttpResponse, deadline: float
    ) -> Response:
        """Try the query protocol, and stay with it if it works."""
        if self._protocol == "json" or response.status in _SHOW_NO_PROTOCOL:
            raise QueueError(operation, f"HTTP {response.status}")
        found = await self._call_query(operation, payload, deadline)
        self._protocol = "query"
        return found

    async def _call_query(
        self, operation: Operation, payload: Payload, deadline: float
    ) -> Response:
        # Servers that speak this protocol find the queue by the path.
        path = urlsplit(str(payload["QueueUrl"])).path or "/"
        body = query.encode(operation, payload)
        response = await self._post(operation, path, _QUERY_HEADERS, body, deadline)
        try:
            if response.status == _OK:
                return query.decode(operation, response.body)
            code = query.error_code(response.body) or f"HTTP {response.status}"
        except query.NotXmlError:
            code = f"HTTP {response.status}"
        raise error_of(operation, code)

    async def _post(
        self, operation: Operation, path: str, headers: Headers, body: bytes, deadline: float
    ) -> HttpResponse:
        lines = self._signer.header_lines(
            await self._credentials(deadline),
            host=self._client.host,
            path=path,
            headers=headers,
            body=body,
            now=self._now(),
        )
        return await self._client.post(
            path, lines, body, deadline, is_idempotent=operation in _IDEMPOTENT
        )


def _json_bytes(payload: Payload) -> bytes:
    try:
        return to_json(payload)
    except PydanticSerializationError:
        # The faster writer refuses lone surrogates.
        return json.dumps(payload).encode("ascii")


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        decoded = from_json(body, cache_strings="keys")  # hardly a value occurs twice
    except ValueError:
        # The faster parser refuses lone surrogates.
        try:
            decoded = json.loads(body)
        except (ValueError, RecursionError):
            return None
    return decoded if isinstance(decoded, dict) else None
