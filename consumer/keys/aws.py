"""The calls to AWS for the key ring: a secret of Secrets Manager, and KMS's wrap and unwrap.

Credentials and endpoints come the standard way of AWS, through aiobotocore. Error codes: AWS
Secrets Manager API Reference, GetSecretValue; AWS KMS API Reference, Encrypt and Decrypt.

This role needs `secretsmanager:GetSecretValue` for a secret, `kms:Decrypt` for a wrapped file, and
`kms:Encrypt` to make or change one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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
    "KMSInvalidStateException": "the state of the KMS key does not allow its use",
    "NoCredentialsError": "there are no AWS credentials",
    "NoRegionError": "the region is not known: set sqs.region or AWS_DEFAULT_REGION",
}
_TRIES = 3
# arn:partition:service:region:account:resource
_ARN_PARTS = 6


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What was wrapped, and the ARN of the KMS key that it was wrapped with."""

    plaintext: bytes = field(repr=False)
    kms_key: str


async def secret_value(name: str, *, region: str | None, timeout_seconds: float) -> str | bytes:
    """The current version of a secret, by its name or ARN; raises what `_call` raises."""
    async with _call("GetSecretValue", timeout_seconds):
        client = get_session().create_client(
            "secretsmanager",
            region_name=_region_in(name) or region,
            config=_config(timeout_seconds),
        )
        async with client as secrets_manager:
            response = await secrets_manager.get_secret_value(SecretId=name)
        return response.get("SecretString") or response["SecretBinary"]


async def unwrap(
    wrapped: bytes, context: Mapping[str, str], *, region: str | None, timeout_seconds: float
) -> Unwrapped:
    """What KMS wrapped with the same encryption context; raises what `_call` raises."""
    async with _call("Decrypt", timeout_seconds):
        client = get_session().create_client(
            "kms", region_name=region, config=_config(timeout_seconds)
        )
        async with client as kms:
            response = await kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)
        return Unwrapped(response["Plaintext"], response["KeyId"])


async def wrap(
    kms_key: str,
    plaintext: bytes,
    context: Mapping[str, str],
    *,
    region: str | None,
    timeout_seconds: float,
) -> bytes:
    """Up to 4096 bytes, wrapped with a KMS key by its ID or ARN; raises what `_call` raises."""
    async with _call("Encrypt", timeout_seconds):
        client = get_session().create_client(
            "kms", region_name=_region_in(kms_key) or region, config=_config(timeout_seconds)
        )
        async with client as kms:
            response = await kms.encrypt(
                KeyId=kms_key, Plaintext=plaintext, EncryptionContext=context
            )
        return response["CiphertextBlob"]


@asynccontextmanager
async def _call(operation: str, timeout_seconds: float) -> AsyncIterator[None]:
    """Bound the call, and raise our error in place of the client's, which quotes the request.

    Raises:
        KeySourceError: the call failed, and may be repeated after a pause.
        KeyRingError: the call was refused, and will be until someone acts.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except ConsumerError:
        raise
    # BLE001: a reply that is not AWS's, or a provider of credentials, may raise anything.
    except Exception as failure:  # noqa: BLE001
        error = _error_of(operation, failure)
        try:
            raise error from None
        finally:
            error.__context__ = None  # `from None` only hides it


def _error_of(operation: str, failure: Exception) -> ConsumerError:
    match failure:
        case ClientError():
            code = failure.response.get("Error", {}).get("Code", "Unknown")
            metadata = failure.response.get("ResponseMetadata", {})
            status = metadata.get("HTTPStatusCode", _SERVER_ERROR)
            is_transient = code in _THROTTLED or status >= _SERVER_ERROR
        case _:
            code = type(failure).__name__
            is_transient = isinstance(failure, _TRANSIENT) or not isinstance(failure, BotoCoreError)
    if is_transient:
        return KeySourceError(operation, code)
    advice = _ADVICE.get(code)
    return KeyRingError(f"{operation}: {code}" + (f" ({advice})" if advice else ""))


def _config(timeout_seconds: float) -> AioConfig:
    return AioConfig(
        connect_timeout=timeout_seconds,
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": _TRIES, "mode": "standard"},
    )


def _region_in(name: str) -> str | None:
    """The region of an ARN; None for a plain name."""
    parts = name.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) >= _ARN_PARTS and parts[3] else None
