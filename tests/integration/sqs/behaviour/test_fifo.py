"""FIFO queues: order within a group, groups apart, and each message once."""

from tests.integration.sqs.behaviour.errors import INVALID_PARAMETER, MISSING_PARAMETER, refusal
from tests.integration.sqs.behaviour.servers import Sqs

BY_CONTENT = {"ContentBasedDeduplication": "true"}


async def send(sqs: Sqs, queue_url: str, group: str, *bodies: str) -> None:
    for body in bodies:
        await sqs.client.send_message(QueueUrl=queue_url, MessageBody=body, MessageGroupId=group)


async def bodies(sqs: Sqs, queue_url: str, count: int = 10) -> list[str]:
    return [each["Body"] for each in await sqs.receive(queue_url, count)]


async def test_a_group_comes_in_the_order_in_which_it_was_sent(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", *"abcdefgh")
    received = [each["Body"] for each in await sqs.receive(queue_url, 8, wait_seconds=5)]
    assert received == list("abcdefgh")[: len(received)]


async def test_a_message_waits_for_the_earlier_ones_of_its_group(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", *"abc")
    (first,) = await sqs.receive_all(queue_url, 1)
    assert await sqs.is_empty(queue_url)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=first["ReceiptHandle"])
    assert (await bodies(sqs, queue_url))[0] == "b"


async def test_groups_do_not_wait_for_each_other(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", "a", "b")
    await sqs.receive_all(queue_url, 1)
    await send(sqs, queue_url, "h", "c")
    assert await bodies(sqs, queue_url) == ["c"]


async def test_a_redelivered_message_keeps_its_place(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(VisibilityTimeout="1", **BY_CONTENT)
    await send(sqs, queue_url, "g", "a", "b")
    await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    assert (await bodies(sqs, queue_url, 1)) == ["a"]


async def test_a_later_message_shown_again_still_waits_for_an_earlier_one(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", "a", "b")
    messages = await sqs.receive(queue_url, 2, wait_seconds=5)
    assert [each["Body"] for each in messages] == ["a", "b"]
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=messages[1]["ReceiptHandle"], VisibilityTimeout=0
    )
    assert await sqs.is_empty(queue_url)
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=messages[0]["ReceiptHandle"], VisibilityTimeout=0
    )
    assert (await bodies(sqs, queue_url))[0] == "a"


async def test_a_message_tells_its_group_its_id_and_its_number(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue()
    numbers = []
    for identifier in ("one", "two"):
        sent = await sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody="body",
            MessageGroupId=identifier,
            MessageDeduplicationId=identifier,
        )
        numbers.append(sent["SequenceNumber"])
    for message in await sqs.receive_all(queue_url, 2):
        attributes = message["Attributes"]
        place = ["one", "two"].index(attributes["MessageGroupId"])
        assert attributes["MessageDeduplicationId"] == attributes["MessageGroupId"]
        assert attributes["SequenceNumber"] == numbers[place]
    assert int(numbers[0]) < int(numbers[1])


async def test_what_is_sent_again_within_five_minutes_is_dropped(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue()
    sent = [
        await sqs.client.send_message(
            QueueUrl=queue_url,
            MessageBody=body,
            MessageGroupId="g",
            MessageDeduplicationId="the-same",
        )
        for body in "ab"
    ]
    assert sent[0]["MessageId"] == sent[1]["MessageId"]
    assert sent[0]["SequenceNumber"] == sent[1]["SequenceNumber"]
    assert [each["Body"] for each in await sqs.receive_all(queue_url, 1)] == ["a"]
    assert await sqs.counts(queue_url) == (0, 1, 0)


async def test_it_is_dropped_even_after_the_first_was_deleted(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", "a")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    await send(sqs, queue_url, "g", "a")
    assert await sqs.counts(queue_url) == (0, 0, 0)


async def test_after_five_minutes_it_is_a_message_of_its_own(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await send(sqs, queue_url, "g", "a")
    await sqs.pass_time(299)
    await send(sqs, queue_url, "g", "a")
    assert await sqs.counts(queue_url) == (1, 0, 0)
    await sqs.pass_time(2)
    await send(sqs, queue_url, "g", "a")
    assert await sqs.counts(queue_url) == (2, 0, 0)


async def test_deduplication_may_go_by_group(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(
        DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId", **BY_CONTENT
    )
    await send(sqs, queue_url, "g", "a", "a")
    await send(sqs, queue_url, "h", "a")
    assert await sqs.counts(queue_url) == (2, 0, 0)


async def test_a_message_needs_a_group(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    sending = sqs.client.send_message(QueueUrl=queue_url, MessageBody="body")
    assert await refusal(sending) == MISSING_PARAMETER


async def test_a_message_needs_an_id_unless_its_content_is_one(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue()
    sending = sqs.client.send_message(QueueUrl=queue_url, MessageBody="body", MessageGroupId="g")
    assert await refusal(sending) == INVALID_PARAMETER


async def test_a_message_has_no_delay_of_its_own(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    sending = sqs.client.send_message(
        QueueUrl=queue_url, MessageBody="body", MessageGroupId="g", DelaySeconds=1
    )
    assert await refusal(sending) == INVALID_PARAMETER


async def test_an_expired_handle_deletes_nothing(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(VisibilityTimeout="1", **BY_CONTENT)
    await send(sqs, queue_url, "g", "a")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    deleting = sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert await refusal(deleting) == INVALID_PARAMETER
    assert await bodies(sqs, queue_url) == ["a"]


async def test_an_expired_handle_hides_nothing(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(VisibilityTimeout="1", **BY_CONTENT)
    await send(sqs, queue_url, "g", "a")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    changing = sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=30
    )
    assert await refusal(changing) == "AWS.SimpleQueueService.MessageNotInflight"
    assert await bodies(sqs, queue_url) == ["a"]


async def test_a_fifo_queues_name_ends_in_fifo(sqs: Sqs) -> None:
    for making in (sqs.queue(FifoQueue="true"), sqs.queue(".fifo")):
        assert await refusal(making) == INVALID_PARAMETER


async def test_a_batch_keeps_its_order(sqs: Sqs) -> None:
    queue_url = await sqs.fifo_queue(**BY_CONTENT)
    await sqs.client.send_message_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": body, "MessageBody": body, "MessageGroupId": "g"} for body in "abcdefghij"],
    )
    received = [each["Body"] for each in await sqs.receive(queue_url, 10, wait_seconds=5)]
    assert received == list("abcdefghij")[: len(received)]
