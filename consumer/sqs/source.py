"""The pipeline's Source: receives, deletes, and changes visibility."""

import re
from collections.abc import Sequence
from hashlib import md5
from uuid import NAMESPACE_OID, uuid5

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, BatchFailure
from consumer.sqs.api import (
    Entry,
    Operation,
    Payload,
    ReceivedMessage,
    Response,
    Transport,
    is_expired_handle,
)

# The shortest wait with which SQS asks all of its servers.
_SHORT_WAIT_SECONDS = 1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SqsSource:
    """Implements the pipeline's Source over a transport.

    `wait_seconds` is the long poll's. A call without a response fails `call_timeout_seconds` after
    the long poll, because a connection can die in silence.
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

        After a failed receive the poll is short: only its response shows that the queue is back.
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
        response = await self._transport.call("ReceiveMessage", payload, seconds)
        try:
            return [_message_of(received) for received in response.get("Messages") or ()]
        except (KeyError, TypeError, ValueError):
            pass
        raise QueueError("ReceiveMessage", "MalformedResponse")

    async def delete(self, messages: Sequence[Message]) -> Sequence[BatchFailure]:
        """Delete up to ten messages; return those that SQS did not delete."""
        if not messages:
            return ()
        # The entry's id is its position: unique even if a message is in the batch twice.
        entries = [
            {"Id": str(position), "ReceiptHandle": message.receipt_handle}
            for position, message in enumerate(messages)
        ]
        payload: Payload = {"QueueUrl": self._queue_url, "Entries": entries}
        response = await self._transport.call(
            "DeleteMessageBatch", payload, self._call_timeout_seconds
        )
        return _refused("DeleteMessageBatch", response, messages)

    async def extend(self, messages: Sequence[Message], seconds: int) -> Sequence[BatchFailure]:
        """Hide up to ten messages for `seconds` from now (0: release them); return the refused."""
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
        response = await self._transport.call(
            "ChangeMessageVisibilityBatch", payload, self._call_timeout_seconds
        )
        return _refused("ChangeMessageVisibilityBatch", response, messages)


def _message_of(received: ReceivedMessage) -> Message:
    sent_ms = (received.get("Attributes") or {}).get("SentTimestamp")
    if sent_ms is None:
        # Without it the row's day and its ledger slot would differ between deliveries.
        advice = "this server gives no SentTimestamp and cannot be used"
        raise QueueRefusedError("ReceiveMessage", "NoSentTimestamp", advice)
    body = received["Body"]
    encoded = body.encode("utf-8", "surrogatepass")
    digest = received.get("MD5OfBody")
    if digest and md5(encoded, usedforsecurity=False).hexdigest() != digest:
        # A damaged body must be redelivered, not stored.
        raise QueueError("ReceiveMessage", "BodyDamaged")
    message_id = received["MessageId"]
    if not _UUID.fullmatch(message_id):
        # The ledger's key is a UUID. AWS's ids are, though its documentation says only string.
        message_id = str(uuid5(NAMESPACE_OID, message_id))
    return Message(message_id, received["ReceiptHandle"], body, int(sent_ms), len(encoded))


def _refused(
    operation: Operation, response: Response, messages: Sequence[Message]
) -> Sequence[BatchFailure]:
    entries = response.get("Failed")
    if not entries:
        return ()
    by_id = {str(position): message for position, message in enumerate(messages)}
    try:
        return [
            BatchFailure(by_id[failed["Id"]], failed["Code"], is_expired_handle(failed["Code"]))
            for failed in entries
        ]
    except (KeyError, TypeError):
        pass
    raise QueueError(operation, "MalformedResponse")
