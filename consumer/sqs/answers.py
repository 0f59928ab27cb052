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
    """What the operations answer; each fills its own part."""

    Messages: list[ReceivedMessage]
    Failed: list[FailedEntry]
    Attributes: dict[str, str]


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
    "OptInRequired": "this AWS account has no access to SQS",
    "RequestExpired": "set this machine's clock",
    "SignatureDoesNotMatch": "check the AWS credentials and the region",
    "UnrecognizedClientException": "check the AWS credentials",
    "NoCredentials": "give AWS credentials by environment, profile or role",
    "PartialCredentialsError": "give both parts of the AWS credentials",
    "ProfileNotFound": "correct AWS_PROFILE or ~/.aws/config",
    "ConfigParseError": "correct ~/.aws/config",
    "KmsAccessDenied": "grant kms:Decrypt on the queue's key",
    "KmsDisabled": "enable the queue's KMS key",
    "KmsInvalidKeyUsage": "check the queue's KMS key",
    "KmsInvalidState": "check the queue's KMS key",
    "KmsNotFound": "check the queue's KMS key",
    "KmsOptInRequired": "check the queue's KMS key",
    "UnsupportedOperation": "check that sqs.queue_url names an SQS queue",
}

# The handle is void (ReceiptHandleIsInvalid), or the message is deleted, visible again, or has
# been invisible for twelve hours (InvalidParameterValue, MessageNotInflight).
_VOID_HANDLE = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"}


def bare_code(code: str) -> str:
    """Strip the prefixes by which the two protocols name the same error."""
    return code.rpartition("#")[2].rpartition(".")[2]


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
