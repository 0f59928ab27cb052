"""The pipeline's Source: receives, deletes, and changes visibility."""

import re
from collections.abc import Callable, Sequence
from hashlib import md5
from uuid import NAMESPACE_OID, uuid5

from consumer.errors import QueueError, QueueRefusedError
from consumer.messages import Message
from consumer.pipeline.ports import MESSAGES_A_CALL, BatchFailure
from consumer.sqs.api import (
    Entry,
    Payload,
    Response,
    Transport,
    failed_entries,
    is_expired_handle,
)
from consumer.telemetry import events as telemetry

# The shortest wait with which SQS asks all of its servers.
_SHORT_WAIT_SECONDS = 1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY_MS = 86_400_000
# 2006-01-01: SQS has no older message.
_EARLIEST_MS = 1_136_073_600_000
_NO_SENT_TIMESTAMP = "NoSentTimestamp"


class _DamagedMessageError(Exception):
    """A received message cannot be taken; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SqsSource:
    """Implements the pipeline's Source over a transport.

    `wait_seconds` is the long poll's. A call without a response fails `call_timeout_seconds` after
    the long poll, because a connection can die in silence. `now` is the wall clock (seconds since
    the epoch).
    """

    def __init__(
        self,
        transport: Transport,
        queue_url: str,
        *,
        wait_seconds: int,
        call_timeout_seconds: float,
        now: Callable[[], float],
        emit: telemetry.Listener,
    ) -> None:
        self._transport = transport
        self._queue_url = queue_url
        self._wait_seconds = wait_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._now = now
        self._emit = emit
        self._failing = False
        self._has_received = False

    async def receive(self) -> Sequence[Message]:
        """Long-poll once for up to ten messages; damaged ones are left in the queue.

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
        received = response.get("Messages") or []
        if not isinstance(received, list):
            raise QueueError("ReceiveMessage", "MalformedResponse")
        return self._intact(received)

    def _intact(self, received: Sequence[object]) -> Sequence[Message]:
        """Return the messages that can be taken, and report the others.

        Raises:
            QueueError: more than one was received and all are damaged, as by a faulty proxy.
            QueueRefusedError: the server gives no SentTimestamp. Without it a row's day and its
                ledger slot would differ between deliveries.
        """
        latest_ms = round(self._now() * 1000) + _DAY_MS
        messages: list[Message] = []
        damages: list[str] = []
        for each in received:
            try:
                messages.append(_message_of(each, latest_ms))
            except _DamagedMessageError as damage:
                damages.append(damage.code)
        for code in damages:
            self._emit(telemetry.MessageDamaged(code))
        self._has_received = self._has_received or bool(messages)
        if damages and not messages:
            self._raise_if_not_the_messages_own(damages)
        return messages

    def _raise_if_not_the_messages_own(self, damages: Sequence[str]) -> None:
        if not self._has_received and set(damages) == {_NO_SENT_TIMESTAMP}:
            advice = "this server gives no SentTimestamp and cannot be used"
            raise QueueRefusedError("ReceiveMessage", _NO_SENT_TIMESTAMP, advice)
        if len(damages) > 1:
            raise QueueError("ReceiveMessage", damages[0])

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
        return _failures(response, messages)

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
        return _failures(response, messages)


def _message_of(received: object, latest_ms: int) -> Message:
    if not isinstance(received, dict):
        raise _DamagedMessageError("MalformedMessage")
    message_id, handle = received.get("MessageId"), received.get("ReceiptHandle")
    body, attributes = received.get("Body"), received.get("Attributes")
    if not (isinstance(body, str) and isinstance(handle, str) and isinstance(message_id, str)):
        raise _DamagedMessageError("MalformedMessage")
    if not handle or not message_id:
        raise _DamagedMessageError("MalformedMessage")
    sent = attributes.get("SentTimestamp") if isinstance(attributes, dict) else None
    if sent is None:
        raise _DamagedMessageError(_NO_SENT_TIMESTAMP)
    try:
        sent_ms = int(sent)
    except (ArithmeticError, TypeError, ValueError):
        raise _DamagedMessageError("BadSentTimestamp") from None
    if not _EARLIEST_MS <= sent_ms <= latest_ms:
        raise _DamagedMessageError("BadSentTimestamp")
    encoded = body.encode("utf-8", "surrogatepass")
    digest = received.get("MD5OfBody")
    if digest and md5(encoded, usedforsecurity=False).hexdigest() != digest:
        raise _DamagedMessageError("BodyDamaged")
    if not _UUID.fullmatch(message_id):
        message_id = _uuid_of(message_id)
    return Message(message_id, handle, body, sent_ms, len(encoded))


def _uuid_of(message_id: str) -> str:
    """Return the ledger's key. AWS's ids are UUIDs, though its documentation says only string."""
    try:
        return str(uuid5(NAMESPACE_OID, message_id))
    except UnicodeEncodeError:
        raise _DamagedMessageError("MalformedMessage") from None


def _failures(response: Response, messages: Sequence[Message]) -> Sequence[BatchFailure]:
    if not response.get("Failed"):
        return ()
    by_id = {str(position): message for position, message in enumerate(messages)}
    return [
        BatchFailure(by_id[entry_id], entry.code, is_expired_handle(entry.code))
        for entry_id, entry in failed_entries(response, by_id).items()
    ]
