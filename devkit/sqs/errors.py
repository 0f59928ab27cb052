"""SQS's errors, under the names by which its two protocols know them.

Names and statuses: Amazon SQS API Reference, "Errors" of each action and "Common Errors".
"""

from dataclasses import dataclass

_COMMON = "com.amazon.coral.service"
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Code:
    """An error: `shape` in the JSON protocol, `query` in the query protocol and in batches."""

    shape: str
    query: str
    status: int = 400
    namespace: str = "com.amazonaws.sqs"

    @property
    def fault(self) -> str:
        """Sender if the same request would fail again."""
        return "Sender" if self.status < _FIRST_SERVER_ERROR else "Receiver"


def _prefixed(shape: str, query: str | None = None) -> Code:
    return Code(shape, f"AWS.SimpleQueueService.{query or shape}")


BATCH_ENTRY_IDS_NOT_DISTINCT = _prefixed("BatchEntryIdsNotDistinct")
BATCH_REQUEST_TOO_LONG = _prefixed("BatchRequestTooLong")
EMPTY_BATCH_REQUEST = _prefixed("EmptyBatchRequest")
INVALID_BATCH_ENTRY_ID = _prefixed("InvalidBatchEntryId")
MESSAGE_NOT_IN_FLIGHT = _prefixed("MessageNotInflight")
QUEUE_DOES_NOT_EXIST = _prefixed("QueueDoesNotExist", "NonExistentQueue")
TOO_MANY_ENTRIES = _prefixed("TooManyEntriesInBatchRequest")
INVALID_ATTRIBUTE_NAME = Code("InvalidAttributeName", "InvalidAttributeName")
INVALID_ATTRIBUTE_VALUE = Code("InvalidAttributeValue", "InvalidAttributeValue")
INVALID_MESSAGE_CONTENTS = Code("InvalidMessageContents", "InvalidMessageContents")
OVER_LIMIT = Code("OverLimit", "OverLimit", 403)
QUEUE_NAME_EXISTS = Code("QueueNameExists", "QueueAlreadyExists")
RECEIPT_HANDLE_IS_INVALID = Code("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404)
INVALID_PARAMETER = Code("InvalidParameterValueException", "InvalidParameterValue", 400, _COMMON)
MISSING_PARAMETER = Code("MissingRequiredParameterException", "MissingParameter", 400, _COMMON)
MALFORMED = Code("SerializationException", "MalformedQueryString", 400, _COMMON)
UNKNOWN_OPERATION = Code("UnknownOperationException", "InvalidAction", 400, _COMMON)
INTERNAL = Code("InternalFailure", "InternalFailure", 500, _COMMON)


class SqsError(Exception):
    """What an operation answers in place of its result; whatever it calls may raise it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
