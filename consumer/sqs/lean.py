"""Calls SQS over our own HTTP and signing: an eighth of the CPU of a general AWS client.

Credentials, their refresh, regions and endpoints stay aiobotocore's.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError, from_json, to_json

from consumer.errors import QueueError
from consumer.sqs import query
from consumer.sqs.answers import Answer, Operation, Payload, error_of
from consumer.sqs.http import HttpAnswer, HttpClient, HttpError
from consumer.sqs.signing import Credentials, Signer

Protocol = Literal["json", "query"]

_OK = 200
# Answers of what stands before the server, or of one that cannot answer now.
_SAY_NOTHING = (429, 502, 503, 504)
_KNOWN_PARTS = frozenset({"Messages", "Failed", "Successful", "Attributes"})


class LeanTransport:
    """Speaks AWS JSON 1.0 or the query protocol; with `protocol` None, what the server answers.

    `credentials` is asked before every request, so that rotated ones are used at once; `now` is
    the wall clock, in seconds since the epoch.
    """

    def __init__(
        self,
        client: HttpClient,
        signer: Signer,
        credentials: Callable[[], Awaitable[Credentials]],
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
        try:
            async with asyncio.timeout(seconds):
                return await self._call(operation, payload)
        except ssl.SSLCertVerificationError:
            failure = error_of(operation, "CertificateNotTrusted")
        except HttpError:
            failure = QueueError(operation, "HttpError")
        # RuntimeError: uvloop's, for a write to a transport that the peer has just closed.
        except (OSError, TimeoutError, RuntimeError) as error:
            failure = QueueError(operation, type(error).__name__)
        raise failure

    async def _call(self, operation: Operation, payload: Payload) -> Answer:
        if self._protocol == "query":
            return await self._call_query(operation, payload)
        answer = await self._post(
            "/",
            {
                "content-type": "application/x-amz-json-1.0",
                "x-amz-target": f"AmazonSQS.{operation}",
            },
            _json_bytes(payload),
        )
        decoded = _json_object(answer.body)
        if decoded is None or not (decoded.keys() <= _KNOWN_PARTS or "__type" in decoded):
            return await self._not_json(operation, payload, answer)
        if answer.status != _OK:
            raise error_of(operation, str(decoded.get("__type", f"HTTP {answer.status}")))
        self._protocol = "json"
        return cast("Answer", decoded)

    async def _not_json(self, operation: Operation, payload: Payload, answer: HttpAnswer) -> Answer:
        """Try the older protocol, and keep to it if it works."""
        if self._protocol == "json" or answer.status in _SAY_NOTHING:
            raise QueueError(operation, f"HTTP {answer.status}")
        found = await self._call_query(operation, payload)
        self._protocol = "query"
        return found

    async def _call_query(self, operation: Operation, payload: Payload) -> Answer:
        # Servers of that age find the queue by the path.
        path = urlsplit(str(payload["QueueUrl"])).path or "/"
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await self._post(path, headers, query.encode(operation, payload))
        try:
            if answer.status == _OK:
                return query.decode(operation, answer.body)
            code = query.error_code(answer.body)
        except query.NotXmlError:
            code = f"HTTP {answer.status}"
        raise error_of(operation, code)

    async def _post(self, path: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        signature = self._signer.headers(
            await self._credentials(),
            host=self._client.host,
            path=path,
            headers=headers,
            body=body,
            now=self._now(),
        )
        return await self._client.post(path, {**headers, **signature}, body)


def _json_bytes(payload: Payload) -> bytes:
    try:
        return to_json(payload)
    except PydanticSerializationError:
        # Lone surrogates are an error to the faster writer only.
        return json.dumps(payload).encode("ascii")


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        decoded = from_json(body)
    except ValueError:
        # Lone surrogates are an error to the faster parser only.
        try:
            decoded = json.loads(body)
        except (ValueError, RecursionError):
            return None
    return decoded if isinstance(decoded, dict) else None
