"""What a sender hands in: checked, measured, and its digests.

Allowed characters and sizes: Amazon SQS API Reference, SendMessage; the digest of attributes:
Developer Guide, "Calculating the MD5 message digest for message attributes".
"""

import re
import struct
from base64 import b64decode
from binascii import Error
from collections.abc import Mapping
from hashlib import md5, sha256

from devkit.sqs.attributes import QueueSettings
from devkit.sqs.errors import (
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER,
    SqsError,
    invalid,
    missing,
)
from devkit.sqs.messages import AttributeValue, Draft
from devkit.sqs.parameters import (
    Parameters,
    inner_map_of,
    integer_of,
    optional_text_of,
    text_of,
)

_MAX_DELAY_SECONDS = 900
_MAX_ATTRIBUTES = 10
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID = re.compile(r"[!-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(
    r"(?=.{1,256}\Z)(?!(?i:aws|amazon)\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
)
_ATTRIBUTE_TYPE = re.compile(r"(?=.{1,256}\Z)(?:String|Number|Binary)(?:\.[A-Za-z0-9_.-]+)?")


def draft_of(parameters: Parameters, settings: QueueSettings) -> Draft:
    """Return the message of a SendMessage call, or of an entry of its batch form.

    Raises:
        SqsError: something is missing, not allowed, or too long.
    """
    body = text_of(parameters, "MessageBody")
    _check_characters(body)
    attributes = _attributes(parameters)
    if size_of(parameters) > settings.max_message_bytes:
        raise SqsError(
            INVALID_PARAMETER,
            "One or more parameters cannot be validated. Reason: Message must be shorter than "
            f"{settings.max_message_bytes} bytes.",
        )
    encoded = body.encode()
    group_id, deduplication_id = ids_of(parameters, settings, encoded)
    return Draft(
        body=body,
        body_md5=md5(encoded, usedforsecurity=False).hexdigest(),
        attributes=attributes,
        attributes_md5=_digest(attributes) if attributes else None,
        trace_header=_trace_header(parameters),
        group_id=group_id,
        deduplication_id=deduplication_id,
        delay_seconds=_delay(parameters, settings),
    )


def ids_of(
    parameters: Parameters, settings: QueueSettings, body: bytes
) -> tuple[str | None, str | None]:
    """Return MessageGroupId and MessageDeduplicationId, the latter of `body` if need be.

    Raises:
        SqsError: one is not allowed, or is missing in a FIFO queue.
    """
    group_id = _id(parameters, "MessageGroupId")
    deduplication_id = _id(parameters, "MessageDeduplicationId")
    if not settings.is_fifo:
        return group_id, deduplication_id
    if group_id is None:
        raise missing("MessageGroupId")
    if deduplication_id is None:
        if not settings.deduplicates_by_content:
            raise SqsError(
                INVALID_PARAMETER,
                "The queue should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly",
            )
        deduplication_id = sha256(body).hexdigest()
    return group_id, deduplication_id


def size_of(parameters: Parameters) -> int:
    """Return how many bytes a message counts: body, and names, types and values of attributes."""
    size = _bytes_of(optional_text_of(parameters, "MessageBody"))
    for name, value in inner_map_of(parameters, "MessageAttributes").items():
        size += _bytes_of(name) + _bytes_of(optional_text_of(value, "DataType"))
        size += _bytes_of(optional_text_of(value, "StringValue"))
        binary = optional_text_of(value, "BinaryValue") or ""
        size += len(binary) * 3 // 4 - binary.count("=")
    return size


def _bytes_of(text: str | None) -> int:
    if not text or text.isascii():
        return len(text or "")
    return len(text.encode(errors="replace"))


def _check_characters(text: str) -> None:
    # What is printable is allowed.
    if not text.isprintable() and _FORBIDDEN.search(text):
        raise SqsError(
            INVALID_MESSAGE_CONTENTS,
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | "
            "#x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        )


def _trace_header(parameters: Parameters) -> str | None:
    given = inner_map_of(parameters, "MessageSystemAttributes").get("AWSTraceHeader")
    if given is None:
        return None
    text = text_of(given, "StringValue")
    _check_characters(text)
    return text


def _delay(parameters: Parameters, settings: QueueSettings) -> int | None:
    seconds = integer_of(parameters, "DelaySeconds", 0, _MAX_DELAY_SECONDS)
    if not settings.is_fifo:
        return seconds
    if seconds:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid("DelaySeconds", seconds, reason)
    return None


def _id(parameters: Parameters, name: str) -> str | None:
    value = optional_text_of(parameters, name)
    if value is not None and not _ID.fullmatch(value):
        reason = (
            f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
        raise invalid(name, value, reason)
    return value


def _attributes(parameters: Parameters) -> Mapping[str, AttributeValue]:
    given = inner_map_of(parameters, "MessageAttributes")
    if not given:
        return {}
    if len(given) > _MAX_ATTRIBUTES:
        raise invalid("MessageAttributes", len(given), "Must be at most 10.")
    return {name: _attribute(name, value) for name, value in sorted(given.items())}


def _attribute(name: str, value: Parameters) -> AttributeValue:
    data_type = text_of(value, "DataType")
    if not _ATTRIBUTE_NAME.fullmatch(name) or not _ATTRIBUTE_TYPE.fullmatch(data_type):
        raise SqsError(
            INVALID_PARAMETER, f"The message attribute '{name}' has an invalid name or type."
        )
    field = "BinaryValue" if data_type.startswith("Binary") else "StringValue"
    content = optional_text_of(value, field)
    if not content:
        raise SqsError(
            INVALID_PARAMETER,
            f"Message (user) attribute '{name}' must contain a non-empty value of type "
            f"'{data_type}'.",
        )
    if field == "StringValue":
        _check_characters(content)
    return {"DataType": data_type, field: content}


def _digest(attributes: Mapping[str, AttributeValue]) -> str:
    digest = md5(usedforsecurity=False)
    for name, value in attributes.items():
        digest.update(_with_length(name.encode()) + _with_length(value["DataType"].encode()))
        digest.update(b"\x02" if "BinaryValue" in value else b"\x01")
        digest.update(_with_length(_content(name, value)))
    return digest.hexdigest()


def _content(name: str, value: AttributeValue) -> bytes:
    if "StringValue" in value:
        return value["StringValue"].encode()
    try:
        return b64decode(value["BinaryValue"], validate=True)
    except (Error, ValueError):
        raise SqsError(
            INVALID_PARAMETER, f"The value of message attribute '{name}' is not base64."
        ) from None


def _with_length(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
