"""The part of SQS's API that is called: operations, the shapes of responses, error codes.

Source: Amazon SQS API Reference, the actions below and "Common Errors".
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from consumer.errors import QueueError, QueueRefusedError

Operation = Literal[
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "SendMessageBatch",
]
WireProtocol = Literal["json", "query"]
Entry = Mapping[str, str | int]
Payload = Mapping[str, str | int | Sequence[str | Entry]]


# A decoded response. Its members are checked where they are read, and unknown ones are ignored.
Response = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """Why SQS did not act on an entry of a batch."""

    code: str
    sender_fault: bool


class Transport(Protocol):
    """One way to call SQS."""

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        """Call once, within `seconds`.

        Raises:
            QueueError: the call failed and may be repeated.
            QueueRefusedError: the call will fail until someone acts.
        """


_GRANT = "grant sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes"

# The permanent errors: each lasts until someone acts. Every other error is transient.
_ADVICE = {
    "NonExistentQueue": "create the queue, or correct sqs.queue_url",
    "QueueDoesNotExist": "create the queue, or correct sqs.queue_url",
    "InvalidAddress": "correct sqs.queue_url",
    "AccessDenied": _GRANT,
    "AccessDeniedException": _GRANT,
    "InvalidSecurity": "use https and valid credentials",
    "ExpiredToken": "refresh the AWS credentials",
    "ExpiredTokenException": "refresh the AWS credentials",
    "IncompleteSignature": "check the AWS credentials",
    "InvalidAccessKeyId": "check the AWS credentials",
    "InvalidClientTokenId": "check the AWS credentials",
    "MissingAuthenticationToken": "check the AWS credentials",
    "NotAuthorized": "check the AWS credentials",
    "MissingAuthenticationTokenException": "check the AWS credentials",
    "IncompleteSignatureException": "check the AWS credentials",
    "InvalidSignatureException": "check the AWS credentials, the region and this machine's clock",
    "OptInRequired": "this AWS account has no access to SQS",
    "OptInRequiredException": "this AWS account has no access to SQS",
    "RequestExpired": "set this machine's clock",
    "SignatureDoesNotMatch": "check the AWS credentials, the region and this machine's clock",
    "UnrecognizedClientException": "check the AWS credentials",
    "NoCredentials": "set AWS credentials by environment, profile or role",
    "PartialCredentialsError": "set both parts of the AWS credentials",
    "ProfileNotFound": "correct AWS_PROFILE or ~/.aws/config",
    "ConfigParseError": "correct ~/.aws/config",
    "CertificateNotTrusted": "set AWS_CA_BUNDLE to the file of the authority that signed it",
    "KmsAccessDenied": "grant kms:Decrypt on the queue's key",
    "KMS.AccessDeniedException": "grant kms:Decrypt on the queue's key",
    "KmsDisabled": "enable the queue's KMS key",
    "KMS.DisabledException": "enable the queue's KMS key",
    "KmsInvalidKeyUsage": "check the queue's KMS key",
    "KMS.InvalidKeyUsageException": "check the queue's KMS key",
    "KmsInvalidState": "check the queue's KMS key",
    "KMS.InvalidStateException": "check the queue's KMS key",
    "KmsNotFound": "check the queue's KMS key",
    "KMS.NotFoundException": "check the queue's KMS key",
    "KmsOptInRequired": "check the queue's KMS key",
    "KMS.OptInRequired": "check the queue's KMS key",
    "UnsupportedOperation": "check that sqs.queue_url names an SQS queue",
}

# InvalidParameterValue and MessageNotInflight: the message is deleted, is visible, or has been
# invisible for twelve hours.
_EXPIRED_HANDLE = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"}
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,79}")


def error_of(operation: str, code: object) -> QueueError:
    """Return the error to raise for an error code of either protocol."""
    bare = _bare(code)
    advice = _ADVICE.get(bare)
    if advice is None:
        return QueueError(operation, bare)
    return QueueRefusedError(operation, bare, advice)


def is_expired_handle(code: str) -> bool:
    """Whether a failed entry's receipt handle can never be used again."""
    return code in _EXPIRED_HANDLE


def failed_entries(response: Response, entry_ids: Collection[str]) -> dict[str, FailedEntry]:
    """Return the entries of a batch that SQS did not act on, by their ids.

    A failed entry that cannot be read may be any of them. Then every entry counts as failed that
    the response does not list as successful.
    """
    listed = response.get("Failed")
    if not listed:
        return {}
    by_id = _by_id(listed)
    failed = {
        entry_id: FailedEntry(_bare(entry.get("Code")), entry.get("SenderFault") is True)
        for entry_id, entry in by_id.items()
        if entry_id in entry_ids
    }
    if not isinstance(listed, list) or len(failed) < len(listed):
        successful = _by_id(response.get("Successful"))
        for entry_id in entry_ids:
            if entry_id not in successful:
                failed.setdefault(entry_id, FailedEntry("MalformedResponse", sender_fault=False))
    return failed


def _by_id(entries: object) -> dict[str, dict[str, object]]:
    """Return those of a response's entries that have an id."""
    if not isinstance(entries, list):
        return {}
    found: dict[str, dict[str, object]] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry_id := entry.get("Id"), str):
            found[entry_id] = entry
    return found


def _bare(code: object) -> str:
    """Strip the namespaces of the two protocols; the query protocol has a few names of its own.

    The code ends up in logs and metrics, so what does not look like one is left out.
    """
    if not isinstance(code, str):
        return "Unknown"
    bare = code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")
    return bare if _CODE.fullmatch(bare) else "Unknown"
