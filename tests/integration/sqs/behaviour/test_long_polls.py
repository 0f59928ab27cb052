"""Long polls: they end with the first message, or empty after their wait."""

import asyncio

from tests.integration.sqs.behaviour.servers import Sqs

LONG = 20
AT_ONCE = 15  # seconds; below LONG, and far above what a busy machine takes


async def test_a_poll_ends_when_a_message_is_sent(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(sqs.receive(queue_url, wait_seconds=LONG))
        await sqs.send(queue_url, "body")
        async with asyncio.timeout(AT_ONCE):
            assert [each["Body"] for each in await poll] == ["body"]


async def test_a_poll_of_an_empty_queue_ends_empty(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await sqs.receive(queue_url, wait_seconds=1) == []
    assert loop.time() - start >= 0.9


async def test_the_queue_says_how_long_to_wait_if_the_receive_does_not(sqs: Sqs) -> None:
    queue_url = await sqs.queue(ReceiveMessageWaitTimeSeconds="1")
    loop = asyncio.get_running_loop()
    start = loop.time()
    answer = await sqs.client.receive_message(QueueUrl=queue_url)
    assert not answer.get("Messages")
    assert loop.time() - start >= 0.9


async def test_a_poll_ends_when_a_visibility_timeout_does(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    await sqs.receive_all(queue_url, 1)
    async with asyncio.timeout(AT_ONCE):
        assert len(await sqs.receive(queue_url, wait_seconds=LONG)) == 1


async def test_a_poll_ends_when_a_message_is_shown_again(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(sqs.receive(queue_url, wait_seconds=LONG))
        await sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
        async with asyncio.timeout(AT_ONCE):
            assert len(await poll) == 1


async def test_two_polls_share_no_message(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    async with asyncio.TaskGroup() as tasks:
        polls = [
            tasks.create_task(sqs.receive(queue_url, wait_seconds=LONG)),
            tasks.create_task(sqs.receive(queue_url, wait_seconds=LONG)),
        ]
        await sqs.send(queue_url, "a")
        done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED, timeout=AT_ONCE)
        await sqs.send(queue_url, "b")
        async with asyncio.timeout(AT_ONCE):
            bodies = [each["Body"] for poll in polls for each in await poll]
    assert done
    assert sorted(bodies) == ["a", "b"]
