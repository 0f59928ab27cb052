"""What all batch calls have in common, and batches of messages to send."""

import pytest
from types_aiobotocore_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

from tests.integration.sqs.behaviour.errors import INVALID_PARAMETER, refusal
from tests.integration.sqs.behaviour.servers import Sqs

PREFIX = "AWS.SimpleQueueService."
OPERATIONS = ["send", "delete", "change"]


async def call(sqs: Sqs, operation: str, queue_url: str, ids: list[str]) -> object:
    """Make a batch call of entries that are alike but for their ids."""
    if operation == "send":
        return await sqs.client.send_message_batch(
            QueueUrl=queue_url, Entries=[{"Id": each, "MessageBody": "body"} for each in ids]
        )
    if operation == "delete":
        return await sqs.client.delete_message_batch(
            QueueUrl=queue_url, Entries=[{"Id": each, "ReceiptHandle": "handle"} for each in ids]
        )
    return await sqs.client.change_message_visibility_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": each, "ReceiptHandle": "handle", "VisibilityTimeout": 1} for each in ids],
    )


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_batch_has_ten_entries_at_most(sqs: Sqs, operation: str) -> None:
    queue_url = await sqs.queue()
    code = await refusal(call(sqs, operation, queue_url, [str(i) for i in range(11)]))
    assert code == PREFIX + "TooManyEntriesInBatchRequest"
    assert await sqs.counts(queue_url) == (0, 0, 0)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_batch_has_an_entry(sqs: Sqs, operation: str) -> None:
    queue_url = await sqs.queue()
    assert await refusal(call(sqs, operation, queue_url, [])) == PREFIX + "EmptyBatchRequest"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_ids_of_a_batch_are_distinct(sqs: Sqs, operation: str) -> None:
    queue_url = await sqs.queue()
    code = await refusal(call(sqs, operation, queue_url, ["a", "b", "a"]))
    assert code == PREFIX + "BatchEntryIdsNotDistinct"
    assert await sqs.counts(queue_url) == (0, 0, 0)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_ids_of_a_batch_are_short_words(sqs: Sqs, operation: str) -> None:
    queue_url = await sqs.queue()
    for entry_id in ("", "a.b", "ä", "x" * 81):
        code = await refusal(call(sqs, operation, queue_url, [entry_id]))
        assert code == PREFIX + "InvalidBatchEntryId", entry_id


async def test_a_batch_is_sent_with_digests_and_attributes(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    answer = await sqs.client.send_message_batch(
        QueueUrl=queue_url,
        Entries=[
            {
                "Id": f"id-{i}",
                "MessageBody": f"body {i}",
                "MessageAttributes": {"n": {"DataType": "Number", "StringValue": str(i)}},
            }
            for i in range(10)
        ],
    )
    assert not answer.get("Failed")
    sent = {each["MessageId"]: each for each in answer["Successful"]}
    assert [each["Id"] for each in answer["Successful"]] == [f"id-{i}" for i in range(10)]
    for message in await sqs.receive_all(queue_url, 10):
        result = sent.pop(message["MessageId"])
        assert result["MD5OfMessageBody"] == message["MD5OfBody"]
        assert result["MD5OfMessageAttributes"] == message["MD5OfMessageAttributes"]
        assert message["Body"] == f"body {message['MessageAttributes']['n']['StringValue']}"
    assert not sent


async def test_a_bad_entry_fails_and_the_others_are_sent(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    entries: list[SendMessageBatchRequestEntryTypeDef] = [
        {"Id": "good", "MessageBody": "body"},
        {"Id": "bad", "MessageBody": "bell \x07"},
        {"Id": "late", "MessageBody": "body", "DelaySeconds": 901},
    ]
    answer = await sqs.client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["good"]
    failed = {each["Id"]: (each["Code"], each["SenderFault"]) for each in answer["Failed"]}
    assert failed == {"bad": ("InvalidMessageContents", True), "late": (INVALID_PARAMETER, True)}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_batch_has_a_mebibyte_in_all_at_most(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    half = "x" * (512 * 1024)
    code = await refusal(
        sqs.client.send_message_batch(
            QueueUrl=queue_url,
            Entries=[{"Id": "0", "MessageBody": half}, {"Id": "1", "MessageBody": half + "x"}],
        )
    )
    assert code == PREFIX + "BatchRequestTooLong"
    assert await sqs.counts(queue_url) == (0, 0, 0)
