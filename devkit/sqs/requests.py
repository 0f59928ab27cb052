"""What requests ask for: their parameters, with types and ranges.

Names, ranges and sizes: Amazon SQS API Reference, page of each action; the digest of attributes:
Developer Guide, "Calculating the MD5 message digest for message attributes".
"""

import re
import struct
from collections.abc import Mapping, Sequence
from hashlib import md5
from types import MappingProxyType
from typing import Annotated, NamedTuple, TypeAlias, TypeVar

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from devkit.sqs.errors import (
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER,
    MALFORMED,
    MISSING_PARAMETER,
    Code,
    SqsError,
)
from devkit.sqs.queue_settings import MAX_DELAY_SECONDS, MAX_VISIBILITY_SECONDS, MAX_WAIT_SECONDS

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

Parameters: TypeAlias = Mapping[str, Json]
"""One level of a request's parameters, in the shapes of the JSON protocol."""

ACCOUNT_ID = "000000000000"

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Request(NamedTuple):
    """A request to carry out an operation.

    `base_url` is the server's URL as this client reached it. `refused_entries` are the entries of
    a batch that an injected fault makes fail, with their error.
    """

    operation: str
    parameters: Parameters
    base_url: str
    refused_entries: Mapping[str, Code] = MappingProxyType({})


def queue_url(base_url: str, name: str) -> str:
    return f"{base_url}/{ACCOUNT_ID}/{name}"


def _allowed(text: str) -> str:
    # What is printable is allowed.
    if not text.isprintable() and _FORBIDDEN.search(text):
        raise PydanticCustomError("contents", "Invalid characters found")
    return text


_Text = Annotated[str, Field(min_length=1), AfterValidator(_allowed)]
_Name = Annotated[
    str, Field(pattern=r"^(?!(?i:aws|amazon)\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z", max_length=256)
]
_Id = Annotated[str, Field(pattern=r"^[!-~]{1,128}\Z")]
_VisibilitySeconds = Annotated[int, Field(ge=0, le=MAX_VISIBILITY_SECONDS)]


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, regex_engine="python-re")


class QueueParameters(_Parameters):
    """The parameters of operations on queues, but for QueueUrl."""

    name: str | None = Field(
        None, alias="QueueName", max_length=80, pattern=r"^[A-Za-z0-9_-]+(\.fifo)?\Z"
    )
    prefix: str = Field("", alias="QueueNamePrefix")
    attributes: dict[str, str] = Field(default_factory=dict, alias="Attributes")
    attribute_names: list[str] = Field(default_factory=list, alias="AttributeNames")


class MessageAttribute(_Parameters):
    data_type: str = Field(
        alias="DataType", pattern=r"^(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?\Z", max_length=256
    )
    text: _Text | None = Field(None, alias="StringValue")
    binary: Base64Bytes | None = Field(None, alias="BinaryValue")

    @property
    def content(self) -> bytes:
        return self.binary or (self.text or "").encode()


class Draft(_Parameters):
    """A message to send; `delay_seconds` None means the queue's own."""

    body: _Text = Field(alias="MessageBody")
    delay_seconds: int | None = Field(None, alias="DelaySeconds", ge=0, le=MAX_DELAY_SECONDS)
    group_id: _Id | None = Field(None, alias="MessageGroupId")
    deduplication_id: _Id | None = Field(None, alias="MessageDeduplicationId")
    attributes: dict[_Name, MessageAttribute] = Field(
        default_factory=dict, alias="MessageAttributes", max_length=10
    )
    system_attributes: dict[str, MessageAttribute] = Field(
        default_factory=dict, alias="MessageSystemAttributes"
    )

    @classmethod
    def from_body(cls, body: str) -> "Draft":
        """Make a message that has a body alone, which may be one that SendMessage refuses."""
        return cls.model_construct(body=body)

    @property
    def size(self) -> int:
        """Bytes of the body, and of the names, types and values of attributes."""
        size = byte_count(self.body)
        for name, each in self.attributes.items():
            size += len(name) + len(each.data_type) + len(each.content)
        return size

    @property
    def attributes_md5(self) -> str:
        digest = md5(usedforsecurity=False)
        for name, each in sorted(self.attributes.items()):
            digest.update(_with_length(name.encode()) + _with_length(each.data_type.encode()))
            digest.update(b"\x01" if each.binary is None else b"\x02")
            digest.update(_with_length(each.content))
        return digest.hexdigest()


class VisibilityChange(_Parameters):
    seconds: _VisibilitySeconds = Field(alias="VisibilityTimeout")


class Receive(_Parameters):
    limit: int = Field(1, alias="MaxNumberOfMessages", ge=1, le=10)
    wait_seconds: int | None = Field(None, alias="WaitTimeSeconds", ge=0, le=MAX_WAIT_SECONDS)
    visibility_seconds: _VisibilitySeconds | None = Field(None, alias="VisibilityTimeout")
    attribute_names: list[str] = Field(default_factory=list, alias="MessageAttributeNames")
    system_names: list[str] = Field(default_factory=list, alias="MessageSystemAttributeNames")
    system_names_before_2023: list[str] = Field(default_factory=list, alias="AttributeNames")


_Model = TypeVar("_Model", bound=_Parameters)


def read(model: type[_Model], parameters: Mapping[str, object]) -> _Model:
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        kind, name = first["type"], ".".join(map(str, first["loc"]))
    if kind in {"missing", "string_too_short"}:
        raise SqsError(MISSING_PARAMETER, f"The request must contain the parameter {name}.")
    if kind == "contents":
        raise SqsError(INVALID_MESSAGE_CONTENTS, f"{first['msg']} in {name}.")
    if kind.endswith(("_type", "_parsing", "_unicode")):
        raise SqsError(MALFORMED, f"The parameter {name} is of the wrong type.")
    raise SqsError(INVALID_PARAMETER, f"The parameter {name} is invalid. Reason: {first['msg']}.")


def text_of(parameters: Parameters, name: str) -> str:
    """Return a text that must be there and must not be empty; raises as `read` does."""
    value = parameters.get(name)
    if not value:
        raise SqsError(MISSING_PARAMETER, f"The request must contain the parameter {name}.")
    if not isinstance(value, str):
        raise SqsError(MALFORMED, f"The parameter {name} is of the wrong type.")
    return value


def byte_count(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _with_length(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
