"""The two calls to AWS: a secret of Secrets Manager, and what KMS wraps and unwraps.

Credentials and endpoints come AWS's standard way, through aiobotocore. Error codes: AWS Secrets
Manager API Reference, GetSecretValue; AWS KMS API Reference, Encrypt and Decrypt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as BotoConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)

from consumer.errors import ConsumerError, KeyRingError, KeySourceError
from consumer.keys.sources import Aws

_TRANSIENT = (
    BotoConnectionError,
    HTTPClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    OSError,
    TimeoutError,
)
_THROTTLED = ("Throttling", "ThrottlingException", "LimitExceededException", "RequestLimitExceeded")
_SERVER_ERROR = 500
_ADVICE = {
    "AccessDeniedException": "this role may not do it",
    "ResourceNotFoundException": "there is no such secret, or not in this region and account",
    "NotFoundException": "there is no such KMS key, or not in this region and account",
    "InvalidCiphertextException": "the file was not wrapped with this encryption context and in"
    " this region, or was changed: see masking.kms_encryption_context",
    "DisabledException": "the KMS key is disabled",
    "KMSInvalidStateException": "the KMS key is not in a state to be used",
    "NoCredentialsError": "there are no AWS credentials",
    "NoRegionError": "the region is not known: set sqs.region or AWS_DEFAULT_REGION",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What was wrapped, and the ARN of the KMS key that it was wrapped with."""

    plaintext: bytes = field(repr=False)
    kms_key: str


async def secret_value(aws: Aws, name: str) -> str | bytes:
    """The current version of a secret, by its name or ARN; raises what `_answer` raises."""

    async def call() -> str | bytes:
        client = get_session().create_client(
            "secretsmanager", region_name=_region_in(name) or aws.region, config=_config(aws)
        )
        async with client as secrets_manager:
            answer = await secrets_manager.get_secret_value(SecretId=name)
        return answer.get("SecretString") or answer["SecretBinary"]

    return await _answer("GetSecretValue", call, aws)


async def unwrap(aws: Aws, wrapped: bytes, context: Mapping[str, str]) -> Unwrapped:
    """What KMS wrapped with the same encryption context; raises what `_answer` raises."""

    async def call() -> Unwrapped:
        client = get_session().create_client("kms", region_name=aws.region, config=_config(aws))
        async with client as kms:
            answer = await kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)
        return Unwrapped(answer["Plaintext"], answer["KeyId"])

    return await _answer("Decrypt", call, aws)


async def wrap(aws: Aws, kms_key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    """Up to 4096 bytes, wrapped with a KMS key by its id or ARN; raises what `_answer` raises."""

    async def call() -> bytes:
        region = _region_in(kms_key) or aws.region
        client = get_session().create_client("kms", region_name=region, config=_config(aws))
        async with client as kms:
            answer = await kms.encrypt(
                KeyId=kms_key, Plaintext=plaintext, EncryptionContext=context
            )
        return answer["CiphertextBlob"]

    return await _answer("Encrypt", call, aws)


async def _answer(operation: str, call: Callable[[], Awaitable[_T]], aws: Aws) -> _T:
    """Wait for a call.

    Raises:
        KeySourceError: it failed, and may be made again.
        KeyRingError: it was refused, and will be until someone acts.
    """
    try:
        async with asyncio.timeout(aws.timeout_seconds):
            return await call()
    except ClientError as error:
        failure = _failure(operation, error)
    except _TRANSIENT as error:
        failure = KeySourceError(operation, type(error).__name__)
    except BotoCoreError as error:
        failure = _refusal(operation, type(error).__name__)
    # Raised here, it does not hold the driver's error, which quotes the request.
    raise failure


def _failure(operation: str, error: ClientError) -> ConsumerError:
    code = error.response.get("Error", {}).get("Code", "Unknown")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _SERVER_ERROR)
    if code in _THROTTLED or status >= _SERVER_ERROR:
        return KeySourceError(operation, code)
    return _refusal(operation, code)


def _refusal(operation: str, code: str) -> KeyRingError:
    advice = _ADVICE.get(code)
    return KeyRingError(f"{operation}: {code}" + (f" ({advice})" if advice else ""))


def _config(aws: Aws) -> AioConfig:
    return AioConfig(
        connect_timeout=aws.timeout_seconds,
        read_timeout=aws.timeout_seconds,
        retries={"total_max_attempts": 3, "mode": "standard"},
    )


def _region_in(name: str) -> str | None:
    """The region of an ARN; None for what is none."""
    parts = name.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 5 and parts[3] else None  # noqa: PLR2004 arn:partition:service:region:account:resource
