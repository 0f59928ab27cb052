"""The queue as the pipeline sees it."""

import re
from collections.abc import Sequence
from hashlib import md5
from uuid import NAMESPACE_OID, uuid5

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, BatchFailure
from consumer.sqs.answers import (
    Answer,
    Entry,
    Operation,
    Payload,
    ReceivedMessage,
    Transport,
    handle_is_void,
)

# The shortest wait for which SQS asks all of its servers.
_SHORT_WAIT_SECONDS = 1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SqsSource:
    """Implements the pipeline's Source over a transport.

    `wait_seconds` is the long poll's; every call fails `call_timeout_seconds` after it should have
    been answered, because a connection can die without a word.
    """

    def __init__(
        self,
        transport: Transport,
        queue_url: str,
        *,
        wait_seconds: int,
        call_timeout_seconds: float,
    ) -> None:
        self._transport = transport
        self._queue_url = queue_url
        self._wait_seconds = wait_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._failing = False

    async def receive(self) -> Sequence[Message]:
        """Long-poll once for up to ten messages.

        After a failed receive the poll is short: only its answer shows that the queue is back.
        """
        try:
            messages = await self._poll(
                _SHORT_WAIT_SECONDS if self._failing else self._wait_seconds
            )
        except QueueError:
            self._failing = True
            raise
        self._failing = False
        return messages

    async def _poll(self, wait_seconds: int) -> Sequence[Message]:
        payload: Payload = {
            "QueueUrl": self._queue_url,
            "MaxNumberOfMessages": MESSAGES_A_CALL,
            "WaitTimeSeconds": wait_seconds,
            # The older of two names for the same parameter: every server knows it.
            "AttributeNames": ["SentTimestamp"],
        }
        seconds = wait_seconds + self._call_timeout_seconds
        answer = await self._transport.call("ReceiveMessage", payload, seconds)
        try:
            return [_message_of(received) for received in answer.get("Messages") or ()]
        except (KeyError, TypeError, ValueError):
            pass
        raise QueueError("ReceiveMessage", "MalformedAnswer")

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        """Delete up to ten messages; return those that were not."""
        if not messages:
            return ()
        # The position is the entry's id: unique in the call even if a message stands in it twice.
        entries = [
            {"Id": str(position), "ReceiptHandle": message.receipt_handle}
            for position, message in enumerate(messages)
        ]
        payload: Payload = {"QueueUrl": self._queue_url, "Entries": entries}
        answer = await self._transport.call(
            "DeleteMessageBatch", payload, self._call_timeout_seconds
        )
        return _refused("DeleteMessageBatch", answer, messages)

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        """Hide up to ten messages for `seconds` from now (0: show them); return the refused."""
        if not messages:
            return ()
        entries: list[Entry] = [
            {
                "Id": str(position),
                "ReceiptHandle": message.receipt_handle,
                "VisibilityTimeout": seconds,
            }
            for position, message in enumerate(messages)
        ]
        payload: Payload = {"QueueUrl": self._queue_url, "Entries": entries}
        answer = await self._transport.call(
            "ChangeMessageVisibilityBatch", payload, self._call_timeout_seconds
        )
        return _refused("ChangeMessageVisibilityBatch", answer, messages)


def _message_of(received: ReceivedMessage) -> Message:
    sent_ms = (received.get("Attributes") or {}).get("SentTimestamp")
    if sent_ms is None:
        # Without it the row's day and its ledger slot would differ from delivery to delivery.
        advice = "this server gives no SentTimestamp; it cannot be used"
        raise QueueRefusedError("ReceiveMessage", "NoSentTimestamp", advice)
    body = received["Body"]
    encoded = body.encode("utf-8", "surrogatepass")
    digest = received.get("MD5OfBody")
    if digest and md5(encoded, usedforsecurity=False).hexdigest() != digest:
        # What arrived damaged must come again, not be stored.
        raise QueueError("ReceiveMessage", "BodyDamaged")
    message_id = received["MessageId"]
    if not _UUID.fullmatch(message_id):
        # The ledger's key: AWS's ids are UUIDs, though their documentation says only string.
        message_id = str(uuid5(NAMESPACE_OID, message_id))
    return Message(message_id, received["ReceiptHandle"], body, int(sent_ms), len(encoded))


def _refused(
    operation: Operation, answer: Answer, messages: Sequence[Message]
) -> Sequence[BatchFailure]:
    entries = answer.get("Failed")
    if not entries:
        return ()
    by_id = {str(position): message for position, message in enumerate(messages)}
    try:
        return [
            BatchFailure(by_id[failed["Id"]], failed["Code"], handle_is_void(failed["Code"]))
            for failed in entries
        ]
    except (KeyError, TypeError):
        pass
    raise QueueError(operation, "MalformedAnswer")
