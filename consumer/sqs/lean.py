"""Calls SQS over our own HTTP and signing: a fraction of the CPU of a general AWS client.

Credentials, their refresh, regions and endpoints stay aiobotocore's.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError, from_json, to_json

from consumer.errors import QueueError, QueueRefusedError
from consumer.sqs import query
from consumer.sqs.answers import Answer, Operation, Payload, error_of
from consumer.sqs.http import HttpClient, HttpError, HttpResponse
from consumer.sqs.signing import Credentials, Headers, Signer

Protocol = Literal["json", "query"]

_OK = 200
# Answers of what stands before the server, or of one that cannot answer now.
_SAY_NOTHING = (429, 502, 503, 504)
_KNOWN_PARTS = frozenset({"Messages", "Failed", "Successful", "Attributes"})
_JSON_HEADERS: dict[Operation, Headers] = {
    operation: (
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", f"AmazonSQS.{operation}"),
    )
    for operation in get_args(Operation)
}
_QUERY_HEADERS: Headers = (("content-type", "application/x-www-form-urlencoded"),)


class LeanTransport:
    """Speaks AWS JSON 1.0 or the query protocol; with `protocol` None, what the server answers.

    `credentials` is asked before every request, so that rotated ones are used at once, and told
    until when, by the event loop's clock; `now` is the wall clock, in seconds since the epoch.
    """

    def __init__(
        self,
        client: HttpClient,
        signer: Signer,
        credentials: Callable[[float], Awaitable[Credentials]],
        now: Callable[[], float],
        protocol: Protocol | None = None,
    ) -> None:
        self._client = client
        self._signer = signer
        self._credentials = credentials
        self._now = now
        self._protocol = protocol

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Answer:
        """Call once within `seconds`; see Transport."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            return await self._call(operation, payload, deadline)
        except ssl.SSLCertVerificationError:
            failure = error_of(operation, "CertificateNotTrusted")
        except UnicodeEncodeError:  # its `object` is a key, or the request
            advice = "check the AWS credentials and sqs.queue_url: one has a character of no header"
            failure = QueueRefusedError(operation, "UnicodeEncodeError", advice)
        except HttpError:
            failure = QueueError(operation, "HttpError")
        # RuntimeError: uvloop's, for a write to a transport that the peer has just closed.
        except (OSError, TimeoutError, RuntimeError) as error:
            failure = QueueError(operation, type(error).__name__)
        raise failure

    async def _call(self, operation: Operation, payload: Payload, deadline: float) -> Answer:
        if self._protocol == "query":
            return await self._call_query(operation, payload, deadline)
        body = _json_bytes(payload)
        answer = await self._post("/", _JSON_HEADERS[operation], body, deadline)
        decoded = _json_object(answer.body)
        if decoded is None or not (decoded.keys() <= _KNOWN_PARTS or "__type" in decoded):
            return await self._not_json(operation, payload, answer, deadline)
        if answer.status != _OK:
            raise error_of(operation, str(decoded.get("__type", f"HTTP {answer.status}")))
        self._protocol = "json"
        return cast("Answer", decoded)

    async def _not_json(
        self, operation: Operation, payload: Payload, answer: HttpResponse, deadline: float
    ) -> Answer:
        """Try the older protocol, and keep to it if it works."""
        if self._protocol == "json" or answer.status in _SAY_NOTHING:
            raise QueueError(operation, f"HTTP {answer.status}")
        found = await self._call_query(operation, payload, deadline)
        self._protocol = "query"
        return found

    async def _call_query(self, operation: Operation, payload: Payload, deadline: float) -> Answer:
        # Servers of that age find the queue by the path.
        path = urlsplit(str(payload["QueueUrl"])).path or "/"
        body = query.encode(operation, payload)
        answer = await self._post(path, _QUERY_HEADERS, body, deadline)
        try:
            if answer.status == _OK:
                return query.decode(operation, answer.body)
            code = query.error_code(answer.body)
        except query.NotXmlError:
            code = f"HTTP {answer.status}"
        raise error_of(operation, code)

    async def _post(
        self, path: str, headers: Headers, body: bytes, deadline: float
    ) -> HttpResponse:
        lines = self._signer.header_lines(
            await self._credentials(deadline),
            host=self._client.host,
            path=path,
            headers=headers,
            body=body,
            now=self._now(),
        )
        return await self._client.post(path, lines, body, deadline)


def _json_bytes(payload: Payload) -> bytes:
    try:
        return to_json(payload)
    except PydanticSerializationError:
        # Lone surrogates are an error to the faster writer only.
        return json.dumps(payload).encode("ascii")


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        decoded = from_json(body, cache_strings="keys")  # of the values hardly one comes twice
    except ValueError:
        # Lone surrogates are an error to the faster parser only.
        try:
            decoded = json.loads(body)
        except (ValueError, RecursionError):
            return None
    return decoded if isinstance(decoded, dict) else None
