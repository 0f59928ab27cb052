"""AWS JSON 1.0, which SDKs speak since the end of 2023.

Names of headers and error types: Smithy, "AWS JSON 1.0 protocol" and "AWS query compatible".
"""

import json
from collections.abc import Mapping

from pydantic_core import PydanticSerializationError, from_json, to_json

from devkit.sqs.errors import MALFORMED, SqsError
from devkit.sqs.parameters import Json, Parameters

CONTENT_TYPE = "application/x-amz-json-1.0"
TARGET_PREFIX = "AmazonSQS."


def read_parameters(body: bytes) -> Parameters:
    """Return the parameters of a request.

    Raises:
        SqsError: the body is no JSON object.
    """
    try:
        values = _parsed(body or b"{}")
    except (ValueError, RecursionError):
        raise SqsError(MALFORMED, "The request is not JSON.") from None
    if not isinstance(values, dict):
        raise SqsError(MALFORMED, "The request is not a JSON object.")
    return values


def _parsed(body: bytes) -> object:
    try:
        return from_json(body)
    except ValueError:
        # Lone surrogates are an error to the faster parser only.
        return json.loads(body)


def result_body(result: Json) -> bytes:
    """Return the body of a successful answer; the one of an operation without a result is empty."""
    result = {} if result is None else result
    try:
        return to_json(result)
    except PydanticSerializationError:
        # Lone surrogates are an error to the faster writer only.
        return json.dumps(result).encode("ascii")


def error_body(error: SqsError) -> bytes:
    """Return the body of a failed answer."""
    shape = f"{error.code.namespace}#{error.code.shape}"
    return json.dumps({"__type": shape, "message": error.message}).encode("ascii")


def error_headers(error: SqsError) -> Mapping[str, str]:
    """Return the headers that name the error as the query protocol does."""
    fault = "Sender" if error.code.is_senders else "Receiver"
    return {"x-amzn-query-error": f"{error.code.query};{fault}"}
