"""Dead-letter queues: messages go there after too many receives, and can be moved back."""

import asyncio
import json

from tests.integration.sqs.behaviour.errors import INVALID_PARAMETER, refusal
from tests.integration.sqs.behaviour.servers import Sqs


async def redriven(
    sqs: Sqs, *, receives: int = 1, suffix: str = "", **attributes: str
) -> tuple[str, str]:
    """Create a queue and its dead-letter queue."""
    dead_letters = await sqs.queue(suffix, **attributes)
    policy = {"deadLetterTargetArn": await sqs.arn(dead_letters), "maxReceiveCount": receives}
    source = await sqs.queue(
        suffix, RedrivePolicy=json.dumps(policy), VisibilityTimeout="1", **attributes
    )
    return source, dead_letters


async def test_a_message_received_too_often_goes_to_the_dead_letter_queue(sqs: Sqs) -> None:
    source, dead_letters = await redriven(sqs, receives=2)
    (sent,) = await sqs.send(source, "poison")
    sent_at = set()
    for count in "12":
        (message,) = await sqs.receive_all(source, 1)
        assert message["Attributes"]["ApproximateReceiveCount"] == count
        sent_at.add(message["Attributes"]["SentTimestamp"])
        await sqs.pass_time(1.1)
    assert await sqs.is_empty(source)
    (dead,) = await sqs.receive_all(dead_letters, 1)
    assert (dead["MessageId"], dead["Body"]) == (sent, "poison")
    assert {dead["Attributes"]["SentTimestamp"]} == sent_at
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == await sqs.arn(source)
    assert await sqs.counts(source) == (0, 0, 0)


async def test_others_come_while_a_poisonous_one_goes(sqs: Sqs) -> None:
    source, dead_letters = await redriven(sqs)
    await sqs.send(source, "poison")
    await sqs.receive_all(source, 1)
    await sqs.pass_time(1.1)
    await sqs.send(source, "good")
    assert [each["Body"] for each in await sqs.receive_all(source, 1)] == ["good"]
    assert [each["Body"] for each in await sqs.receive_all(dead_letters, 1)] == ["poison"]


async def test_a_poll_of_the_dead_letter_queue_ends_when_one_comes(sqs: Sqs) -> None:
    source, dead_letters = await redriven(sqs)
    await sqs.send(source, "poison")
    await sqs.receive_all(source, 1)
    await sqs.pass_time(1.1)
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(sqs.receive(dead_letters, wait_seconds=20))
        await sqs.receive(source)
        async with asyncio.timeout(15):
            assert [each["Body"] for each in await poll] == ["poison"]


async def test_a_redrive_policy_must_name_a_queue(sqs: Sqs) -> None:
    arn = (await sqs.arn(await sqs.queue())) + "-other"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    assert await refusal(sqs.queue(RedrivePolicy=policy)) == INVALID_PARAMETER


async def test_a_malformed_redrive_policy_is_refused(sqs: Sqs) -> None:
    arn = await sqs.arn(await sqs.queue())
    for policy in ("{", "[]", json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 0})):
        assert await refusal(sqs.queue(RedrivePolicy=policy)) in {
            INVALID_PARAMETER,
            "InvalidAttributeValue",
        }


async def test_a_fifo_queue_has_a_fifo_dead_letter_queue(sqs: Sqs) -> None:
    arn = await sqs.arn(await sqs.queue())
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    assert await refusal(sqs.fifo_queue(RedrivePolicy=policy)) == INVALID_PARAMETER


async def test_a_redrive_policy_can_be_taken_back(sqs: Sqs) -> None:
    source, _ = await redriven(sqs)
    await sqs.client.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": ""})
    await sqs.send(source, "poison")
    for _ in range(2):
        assert len(await sqs.receive_all(source, 1)) == 1
        await sqs.pass_time(1.1)


async def test_a_fifo_message_dies_and_comes_back_in_its_group(sqs: Sqs) -> None:
    source, dead_letters = await redriven(
        sqs, suffix=".fifo", FifoQueue="true", ContentBasedDeduplication="true"
    )
    for body in "ab":
        await sqs.client.send_message(QueueUrl=source, MessageBody=body, MessageGroupId="g")
    assert [each["Body"] for each in await sqs.receive_all(source, 1)] == ["a"]
    await sqs.pass_time(1.1)
    assert [each["Body"] for each in await sqs.receive_all(source, 1)] == ["b"]
    (dead,) = await sqs.receive_all(dead_letters, 1)
    assert (dead["Body"], dead["Attributes"]["MessageGroupId"]) == ("a", "g")
