"""The parts of SQS's API that the pipeline uses, and what its error codes mean to us.

Shapes and codes: Amazon SQS API Reference, actions ReceiveMessage, DeleteMessageBatch,
ChangeMessageVisibilityBatch, and "Common Errors".
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
Entry = Mapping[str, str | int]
Payload = Mapping[str, str | int | Sequence[str | Entry]]


class ReceivedMessage(TypedDict):
    """One message of a ReceiveMessage answer."""

    MessageId: str
    ReceiptHandle: str
    Body: str
    MD5OfBody: NotRequired[str]
    Attributes: NotRequired[dict[str, str]]


class FailedEntry(TypedDict):
    """One entry of a batch that was not acted on."""

    Id: str
    Code: str
    SenderFault: bool


class Answer(TypedDict, total=False):
    """What the operations answer; each fills its own part, and some servers fill with null."""

    Messages: list[ReceivedMessage] | None
    Failed: list[FailedEntry] | None
    Attributes: dict[str, str] | None


class Transport(Protocol):
    """A way to call SQS."""

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Answer:
        """Call once, without trying again, within `seconds`.

        Raises:
            QueueError: it failed and may be tried again.
            QueueRefusedError: it will go on failing until someone acts.
        """


_NEEDS_SOMEONE = {
    "NonExistentQueue": "create the queue, or correct sqs.queue_url",
    "QueueDoesNotExist": "create the queue, or correct sqs.queue_url",
    "InvalidAddress": "correct sqs.queue_url",
    "AccessDenied": "grant sqs:ReceiveMessage, DeleteMessage and ChangeMessageVisibility",
    "AccessDeniedException": "grant sqs:ReceiveMessage, DeleteMessage and ChangeMessageVisibility",
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
    "NoCredentials": "give AWS credentials by environment, profile or role",
    "PartialCredentialsError": "give both parts of the AWS credentials",
    "ProfileNotFound": "correct AWS_PROFILE or ~/.aws/config",
    "ConfigParseError": "correct ~/.aws/config",
    "CertificateNotTrusted": "let AWS_CA_BUNDLE name the file of the authority that signed it",
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

# The handle is void (ReceiptHandleIsInvalid), or the message is deleted, visible again, or has
# been invisible for twelve hours (InvalidParameterValue, MessageNotInflight).
_VOID_HANDLE = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"}


def bare_code(code: str) -> str:
    """Strip the namespaces of the two protocols; the query protocol has a few names of its own."""
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")


def error_of(operation: str, code: str) -> QueueError:
    """Return the error to raise for an SQS error code of either protocol."""
    bare = bare_code(code)
    advice = _NEEDS_SOMEONE.get(bare)
    if advice is None:
        return QueueError(operation, bare)
    return QueueRefusedError(operation, bare, advice)


def handle_is_void(code: str) -> bool:
    """Tell whether a failed entry says that its receipt handle will never work again."""
    return bare_code(code) in _VOID_HANDLE
