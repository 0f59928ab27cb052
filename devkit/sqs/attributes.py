"""A queue's attributes: what they may be, and what follows from them.

Names, ranges and defaults: Amazon SQS API Reference, CreateQueue and SetQueueAttributes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devkit.sqs.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_PARAMETER,
    SqsError,
)

MAX_VISIBILITY_SECONDS = 43_200
MAX_MESSAGE_BYTES = 1_048_576

_MAX_RECEIVE_COUNT = 1000
_MAX_DIGITS = 10
_Check = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class RedrivePolicy:
    """Where a message goes that was received `max_receive_count` times."""

    dead_letter_arn: str
    max_receive_count: int


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Attributes as they are used; `given` has them as they are shown."""

    given: Mapping[str, str]
    delay_seconds: int
    visibility_seconds: int
    wait_seconds: int
    retention_seconds: int
    max_message_bytes: int
    is_fifo: bool
    deduplicates_by_content: bool
    deduplicates_by_group: bool
    redrive: RedrivePolicy | None


def settings_of(name: str, given: Mapping[str, str]) -> QueueSettings:
    """Read the attributes of a new queue.

    Raises:
        SqsError: an attribute is unknown, out of range, or of the other type of queue.
    """
    is_fifo = given.get("FifoQueue", "").lower() == "true"
    if is_fifo != name.endswith(".fifo"):
        raise SqsError(
            INVALID_PARAMETER,
            "The name of a FIFO queue ends in .fifo and FifoQueue is true; of others, neither.",
        )
    return _settings({**_DEFAULTS, **(_FIFO_DEFAULTS if is_fifo else {})}, given)


def changed(settings: QueueSettings, given: Mapping[str, str]) -> QueueSettings:
    """Return the settings with some attributes changed.

    Raises:
        SqsError: an attribute is unknown, out of range, or cannot be changed.
    """
    if settings.is_fifo and given.get("FifoQueue", "true").lower() != "true":
        raise _invalid("FifoQueue", "Modifying queue type is not supported")
    return _settings(settings.given, given)


def difference(settings: QueueSettings, given: Mapping[str, str]) -> str | None:
    """Return the name of an attribute that is not as `given`, None if all are."""
    shown = {name: _shown(name, value) for name, value in given.items()}
    return next((name for name in shown if settings.given.get(name, "") != shown[name]), None)


def _settings(base: Mapping[str, str], given: Mapping[str, str]) -> QueueSettings:
    is_fifo = base.get("FifoQueue") == "true"
    for name, value in given.items():
        check = _CHECKS.get(name) or (_FIFO_CHECKS.get(name) if is_fifo else None)
        if check is None:
            raise SqsError(INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {name}.")
        if not check(value):
            raise _invalid(name, "see CreateQueue for what it may be")
    merged = {**base} | {name: _shown(name, value) for name, value in given.items()}
    merged = {name: value for name, value in merged.items() if value}
    return QueueSettings(
        given=merged,
        delay_seconds=int(merged["DelaySeconds"]),
        visibility_seconds=int(merged["VisibilityTimeout"]),
        wait_seconds=int(merged["ReceiveMessageWaitTimeSeconds"]),
        retention_seconds=int(merged["MessageRetentionPeriod"]),
        max_message_bytes=int(merged["MaximumMessageSize"]),
        is_fifo=is_fifo,
        deduplicates_by_content=merged.get("ContentBasedDeduplication") == "true",
        deduplicates_by_group=merged.get("DeduplicationScope") == "messageGroup",
        redrive=_redrive(merged.get("RedrivePolicy")),
    )


def _shown(name: str, value: str) -> str:
    if name in _BOOLEANS:
        return value.lower()
    check = _CHECKS.get(name)
    return str(int(value)) if check in _RANGE_CHECKS and value.isdecimal() else value


def _redrive(text: str | None) -> RedrivePolicy | None:
    if not text:
        return None
    try:
        policy = json.loads(text)
        arn, count = str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (ValueError, KeyError, TypeError):
        raise _invalid(
            "RedrivePolicy", "it needs deadLetterTargetArn and maxReceiveCount"
        ) from None
    if not 1 <= count <= _MAX_RECEIVE_COUNT:
        raise _invalid("RedrivePolicy", "maxReceiveCount must be between 1 and 1000")
    return RedrivePolicy(arn, count)


def _invalid(name: str, reason: str) -> SqsError:
    return SqsError(
        INVALID_ATTRIBUTE_VALUE, f"Invalid value for the parameter {name}. Reason: {reason}."
    )


def _between(low: int, high: int) -> _Check:
    def check(value: str) -> bool:
        return (
            value.isascii()
            and value.isdecimal()
            and len(value) <= _MAX_DIGITS
            and low <= int(value) <= high
        )

    _RANGE_CHECKS.add(check)
    return check


def _one_of(*allowed: str) -> _Check:
    return lambda value: value in allowed


def _boolean(value: str) -> bool:
    return value.lower() in {"true", "false"}


def _anything(value: str) -> bool:
    return len(value) <= MAX_MESSAGE_BYTES


_RANGE_CHECKS: set[_Check] = set()
_BOOLEANS = {"FifoQueue", "ContentBasedDeduplication", "SqsManagedSseEnabled"}
_CHECKS: Mapping[str, _Check] = {
    "DelaySeconds": _between(0, 900),
    "MaximumMessageSize": _between(1024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": _between(60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": _between(0, 20),
    "VisibilityTimeout": _between(0, MAX_VISIBILITY_SECONDS),
    "Policy": _anything,
    "RedrivePolicy": _anything,
    "RedriveAllowPolicy": _anything,
    "KmsMasterKeyId": _anything,
    "KmsDataKeyReusePeriodSeconds": _between(60, 86_400),
    "SqsManagedSseEnabled": _boolean,
}
_FIFO_CHECKS: Mapping[str, _Check] = {
    "FifoQueue": _boolean,
    "ContentBasedDeduplication": _boolean,
    "DeduplicationScope": _one_of("queue", "messageGroup"),
    "FifoThroughputLimit": _one_of("perQueue", "perMessageGroupId"),
}
_DEFAULTS: Mapping[str, str] = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS: Mapping[str, str] = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
