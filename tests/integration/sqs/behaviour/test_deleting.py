"""Deleting: what is deleted is never redelivered; what a stale handle names may."""

from tests.integration.sqs.behaviour.errors import MISSING_PARAMETER, refusal
from tests.integration.sqs.behaviour.servers import Sqs


async def test_a_deleted_message_is_never_redelivered(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert await sqs.counts(queue_url) == (0, 0, 0)
    await sqs.pass_time(1.1)
    assert await sqs.is_empty(queue_url)


async def test_a_message_may_be_deleted_twice(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    for _ in range(2):
        await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])


async def test_the_newest_handle_deletes_although_its_timeout_ended(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert await sqs.is_empty(queue_url)


async def test_a_stale_handle_succeeds_and_the_message_stays(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (first,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    (second,) = await sqs.receive(queue_url, VisibilityTimeout=600, wait_seconds=5)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=first["ReceiptHandle"])
    assert await sqs.counts(queue_url) == (0, 1, 0)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=second["ReceiptHandle"])
    assert await sqs.counts(queue_url) == (0, 0, 0)


async def test_a_batch_tells_which_entries_failed_and_deletes_the_others(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "a", "b", "c")
    handles = [each["ReceiptHandle"] for each in await sqs.receive_all(queue_url, 3)]
    answer = await sqs.client.delete_message_batch(
        QueueUrl=queue_url,
        Entries=[
            {"Id": "0", "ReceiptHandle": handles[0]},
            {"Id": "1", "ReceiptHandle": "nonsense"},
            {"Id": "2", "ReceiptHandle": handles[2]},
        ],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["0", "2"]
    (failed,) = answer["Failed"]
    assert failed["Id"] == "1"
    assert failed["Code"] == "ReceiptHandleIsInvalid"
    assert failed["SenderFault"] is True
    assert await sqs.counts(queue_url) == (0, 1, 0)


async def test_a_batch_may_have_one_message_twice(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "a")
    (message,) = await sqs.receive_all(queue_url, 1)
    handle = message["ReceiptHandle"]
    answer = await sqs.client.delete_message_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": "0", "ReceiptHandle": handle}, {"Id": "1", "ReceiptHandle": handle}],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["0", "1"]
    assert not answer.get("Failed")


async def test_a_handle_that_is_none_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    deleting = sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle="nonsense")
    assert await refusal(deleting) == "ReceiptHandleIsInvalid"


async def test_another_queues_handle_is_refused(sqs: Sqs) -> None:
    queue_url, other_url = await sqs.queue(), await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    deleting = sqs.client.delete_message(QueueUrl=other_url, ReceiptHandle=message["ReceiptHandle"])
    assert await refusal(deleting) == "ReceiptHandleIsInvalid"
    assert await sqs.counts(queue_url) == (0, 1, 0)


async def test_an_empty_handle_is_missing(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    deleting = sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle="")
    assert await refusal(deleting) == MISSING_PARAMETER
