"""SQS's errors, under the names by which its two protocols know them.

Names and statuses: Amazon SQS API Reference, "Errors" of each action and "Common Errors".
"""

from dataclasses import dataclass

_SERVICE = "com.amazonaws.sqs"
_COMMON = "com.amazon.coral.service"


@dataclass(frozen=True, slots=True)
class Code:
    """An error: `shape` in the JSON protocol, `query` in the query protocol and in batches."""

    shape: str
    query: str
    status: int = 400
    namespace: str = _SERVICE

    @property
    def is_senders(self) -> bool:
        """Whether the sender is to blame, and the same request would fail again."""
        return self.status < 500  # noqa: PLR2004 - where HTTP's server errors begin


def _prefixed(shape: str, query: str | None = None, status: int = 400) -> Code:
    return Code(shape, f"AWS.SimpleQueueService.{query or shape}", status)


BATCH_ENTRY_IDS_NOT_DISTINCT = _prefixed("BatchEntryIdsNotDistinct")
BATCH_REQUEST_TOO_LONG = _prefixed("BatchRequestTooLong")
EMPTY_BATCH_REQUEST = _prefixed("EmptyBatchRequest")
INVALID_BATCH_ENTRY_ID = _prefixed("InvalidBatchEntryId")
MESSAGE_NOT_IN_FLIGHT = _prefixed("MessageNotInflight")
PURGE_QUEUE_IN_PROGRESS = _prefixed("PurgeQueueInProgress", status=403)
QUEUE_DELETED_RECENTLY = _prefixed("QueueDeletedRecently")
QUEUE_DOES_NOT_EXIST = _prefixed("QueueDoesNotExist", "NonExistentQueue")
TOO_MANY_ENTRIES = _prefixed("TooManyEntriesInBatchRequest")
INVALID_ATTRIBUTE_NAME = Code("InvalidAttributeName", "InvalidAttributeName")
INVALID_ATTRIBUTE_VALUE = Code("InvalidAttributeValue", "InvalidAttributeValue")
INVALID_MESSAGE_CONTENTS = Code("InvalidMessageContents", "InvalidMessageContents")
OVER_LIMIT = Code("OverLimit", "OverLimit", 403)
QUEUE_NAME_EXISTS = Code("QueueNameExists", "QueueAlreadyExists")
RECEIPT_HANDLE_IS_INVALID = Code("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404)
RESOURCE_NOT_FOUND = Code("ResourceNotFoundException", "ResourceNotFoundException", 404)

INVALID_PARAMETER = Code(
    "InvalidParameterValueException", "InvalidParameterValue", namespace=_COMMON
)
MISSING_PARAMETER = Code("MissingRequiredParameterException", "MissingParameter", namespace=_COMMON)
MALFORMED = Code("SerializationException", "MalformedQueryString", namespace=_COMMON)
UNKNOWN_OPERATION = Code("UnknownOperationException", "InvalidAction", namespace=_COMMON)
INTERNAL = Code("InternalFailure", "InternalFailure", 500, _COMMON)


class SqsError(Exception):
    """What an operation answers instead of its result."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def missing(parameter: str) -> SqsError:
    """Return the error for a parameter that is not there."""
    return SqsError(MISSING_PARAMETER, f"The request must contain the parameter {parameter}.")


def invalid(parameter: str, value: object, reason: str) -> SqsError:
    """Return the error for a parameter whose value is not allowed."""
    return SqsError(
        INVALID_PARAMETER, f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    )
