"""ReceiveMessage: what was asked for, and the answer's shape."""

from collections.abc import Sequence
from typing import NamedTuple

from devkit.sqs.attributes import MAX_VISIBILITY_SECONDS
from devkit.sqs.calls import Call
from devkit.sqs.messages import Received, StoredMessage
from devkit.sqs.parameters import (
    Json,
    integer_of,
    texts_of,
)
from devkit.sqs.queue import Queue

SENDER_ID = "AIDAEMBEDDEDSQSSERVER"

_MAX_MESSAGES = 10
_MAX_WAIT_SECONDS = 20


class Receive(NamedTuple):
    """A receive; `hide` is false where a placed fault delivers a message twice."""

    queue: Queue
    limit: int
    wait_seconds: int
    visibility_seconds: int | None
    system_names: frozenset[str]
    attribute_names: tuple[str, ...]
    hide: bool

    def take(self) -> list[Received]:
        """Receive what is there.

        Raises:
            SqsError: OverLimit.
        """
        return self.queue.receive(self.limit, self.visibility_seconds, hide=self.hide)

    def answer(self, received: Sequence[Received]) -> Json:
        """Return the answer; without messages it is empty, as SQS's is."""
        return {"Messages": [self._shown(*each) for each in received]} if received else {}

    def _shown(self, message: StoredMessage, receipt_handle: str) -> dict[str, Json]:
        draft = message.draft
        shown: dict[str, Json] = {
            "MessageId": message.message_id,
            "ReceiptHandle": receipt_handle,
            "MD5OfBody": draft.body_md5,
            "Body": draft.body,
        }
        if self.system_names:
            shown["Attributes"] = self._system_attributes(message)
        if draft.attributes_md5 and self.attribute_names:
            attributes = {
                name: value for name, value in draft.attributes.items() if self._wants(name)
            }
            if attributes:
                shown["MD5OfMessageAttributes"] = draft.attributes_md5
                shown["MessageAttributes"] = attributes
        return shown

    def _system_attributes(self, message: StoredMessage) -> dict[str, Json]:
        draft, is_fifo = message.draft, self.queue.settings.is_fifo
        attributes = {
            "SenderId": SENDER_ID,
            "SentTimestamp": str(message.sent_ms),
            "ApproximateReceiveCount": str(message.receive_count),
            "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
            "SequenceNumber": message.sequence_number if is_fifo else None,
            "MessageGroupId": draft.group_id,
            "MessageDeduplicationId": draft.deduplication_id,
            "AWSTraceHeader": draft.trace_header,
            "DeadLetterQueueSourceArn": message.dead_letter_source,
        }
        wanted = attributes if "All" in self.system_names else self.system_names
        return {
            name: attributes[name] for name in attributes if name in wanted and attributes[name]
        }

    def _wants(self, name: str) -> bool:
        for wanted in self.attribute_names:
            if wanted in {"All", ".*", name}:
                return True
            if wanted.endswith(".*") and name.startswith(wanted[:-1]):
                return True
        return False


def receive_of(call: Call, *, hide: bool) -> Receive:
    """Read the parameters of a ReceiveMessage call.

    Raises:
        SqsError: one is not allowed, or there is no such queue.
    """
    queue, given = call.queue(), call.parameters
    wait_seconds = integer_of(given, "WaitTimeSeconds", 0, _MAX_WAIT_SECONDS)
    return Receive(
        queue=queue,
        limit=integer_of(given, "MaxNumberOfMessages", 1, _MAX_MESSAGES) or 1,
        wait_seconds=queue.settings.wait_seconds if wait_seconds is None else wait_seconds,
        visibility_seconds=integer_of(given, "VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS),
        system_names=frozenset(
            texts_of(given, "AttributeNames") + texts_of(given, "MessageSystemAttributeNames")
        ),
        attribute_names=tuple(texts_of(given, "MessageAttributeNames")),
        hide=hide,
    )
