"""The part of SQS's API that is called: operations, the shapes of responses, error codes.

Source: Amazon SQS API Reference, the actions below and "Common Errors".
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, Protocol, TypedDict

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


class ReceivedMessage(TypedDict):
    """One message of a ReceiveMessage response."""

    MessageId: str
    ReceiptHandle: str
    Body: str
    MD5OfBody: NotRequired[str]
    Attributes: NotRequired[dict[str, str]]


class FailedEntry(TypedDict):
    """One entry of a batch that SQS did not act on."""

    Id: str
    Code: str
    SenderFault: bool


class Response(TypedDict, total=False):
    """The members of all operations' responses; some servers give null for none."""

    Messages: list[ReceivedMessage] | None
    Failed: list[FailedEntry] | None
    Attributes: dict[str, str] | None


class Transport(Protocol):
    """One way to call SQS."""

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        """Call once, within `seconds`.

        Raises:
            QueueError: the call failed and may be repeated.
            QueueRefusedError: the call will fail until someone acts.
        """


_GRANT = "grant sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes"

# What to do about the errors that last until someone acts.
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


def error_of(operation: str, code: str) -> QueueError:
    """Return the error to raise for an error code of either protocol."""
    bare = _bare(code)
    advice = _ADVICE.get(bare)
    if advice is None:
        return QueueError(operation, bare)
    return QueueRefusedError(operation, bare, advice)


def is_expired_handle(code: str) -> bool:
    """Whether a failed entry's receipt handle can never be used again."""
    return _bare(code) in _EXPIRED_HANDLE


def _bare(code: str) -> str:
    """Strip the namespaces of the two protocols; the query protocol has a few names of its own."""
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")
