"""A queue's attributes: what they may be, and what follows from them.

Names, ranges and defaults: Amazon SQS API Reference, CreateQueue and SetQueueAttributes.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from devkit.sqs.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_PARAMETER,
    SqsError,
)

MAX_VISIBILITY_SECONDS = 43_200
MAX_MESSAGE_BYTES = 1_048_576
MAX_DELAY_SECONDS = 900
MAX_WAIT_SECONDS = 20


class RedrivePolicy(BaseModel):
    """The queue to which a message goes that was received `max_receive_count` times."""

    model_config = ConfigDict(frozen=True)

    dead_letter_arn: str = Field(alias="deadLetterTargetArn")
    max_receive_count: int = Field(alias="maxReceiveCount", ge=1, le=1000)


class QueueSettings(BaseModel):
    """The attributes of a standard queue; retention and the last four change nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay_seconds: int = Field(0, alias="DelaySeconds", ge=0, le=MAX_DELAY_SECONDS)
    visibility_seconds: int = Field(30, alias="VisibilityTimeout", ge=0, le=MAX_VISIBILITY_SECONDS)
    wait_seconds: int = Field(0, alias="ReceiveMessageWaitTimeSeconds", ge=0, le=MAX_WAIT_SECONDS)
    retention_seconds: int = Field(345_600, alias="MessageRetentionPeriod", ge=60, le=1_209_600)
    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES, alias="MaximumMessageSize", ge=1024, le=MAX_MESSAGE_BYTES
    )
    redrive: Json[RedrivePolicy] | None = Field(None, alias="RedrivePolicy")
    redrive_allow_policy: str | None = Field(None, alias="RedriveAllowPolicy")
    policy: str | None = Field(None, alias="Policy")
    kms_key_id: str | None = Field(None, alias="KmsMasterKeyId")
    sse: str | None = Field(None, alias="SqsManagedSseEnabled")

    def shown(self) -> dict[str, str]:
        """Return the attributes by their names, as texts."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True, round_trip=True)
        return {name: str(value) for name, value in values.items()}


class FifoQueueSettings(QueueSettings):
    fifo: Literal["true"] = Field(alias="FifoQueue")
    by_content: Literal["false", "true"] = Field("false", alias="ContentBasedDeduplication")
    scope: Literal["queue", "messageGroup"] = Field("queue", alias="DeduplicationScope")
    limit: Literal["perQueue", "perMessageGroupId"] = Field("perQueue", alias="FifoThroughputLimit")


ATTRIBUTE_NAMES = frozenset(str(field.alias) for field in FifoQueueSettings.model_fields.values())


def settings_of(name: str, attributes: Mapping[str, str]) -> QueueSettings:
    """Read the attributes of a queue of this name; an empty text is none."""
    # SDKs spell true as True.
    given = {n: v.lower() if v in {"True", "False"} else v for n, v in attributes.items() if v}
    is_fifo = given.get("FifoQueue") == "true"
    if is_fifo != name.endswith(".fifo"):
        text = "The name of a FIFO queue ends in .fifo and FifoQueue is true; of others, neither."
        raise SqsError(INVALID_PARAMETER, text)
    try:
        return (FifoQueueSettings if is_fifo else QueueSettings).model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise SqsError(
                INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {first['loc'][0]}."
            ) from None
        text = f"Invalid value for the parameter {first['loc'][0]}. Reason: {first['msg']}."
        raise SqsError(INVALID_ATTRIBUTE_VALUE, text) from None
