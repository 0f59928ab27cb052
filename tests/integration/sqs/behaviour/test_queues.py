"""Queues: create, find, list, describe, change, empty, delete."""

from uuid import uuid4

from tests.integration.sqs.behaviour.errors import INVALID_PARAMETER, NO_QUEUE, refusal
from tests.integration.sqs.behaviour.servers import Sqs

PREFIX = "AWS.SimpleQueueService."


async def test_a_queue_has_the_documented_defaults(sqs: Sqs) -> None:
    shown = await sqs.attributes(await sqs.queue())
    assert shown["VisibilityTimeout"] == "30"
    assert shown["DelaySeconds"] == "0"
    assert shown["ReceiveMessageWaitTimeSeconds"] == "0"
    assert shown["MessageRetentionPeriod"] == "345600"
    assert shown["MaximumMessageSize"] == "1048576"
    assert "RedrivePolicy" not in shown
    assert "FifoQueue" not in shown


async def test_a_queue_tells_its_arn_and_when_it_was_made(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    name = queue_url.rpartition("/")[2]
    shown = await sqs.attributes(queue_url)
    assert shown["QueueArn"].startswith("arn:aws:sqs:")
    assert shown["QueueArn"].endswith(f":{name}")
    assert abs(int(shown["CreatedTimestamp"]) - sqs.now()) < 120
    assert int(shown["LastModifiedTimestamp"]) >= int(shown["CreatedTimestamp"])


async def test_attributes_are_given_as_asked(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    shown = await sqs.attributes(queue_url, "VisibilityTimeout", "QueueArn")
    assert shown.keys() == {"VisibilityTimeout", "QueueArn"}
    assert "Attributes" not in {
        key: value
        for key, value in (await sqs.client.get_queue_attributes(QueueUrl=queue_url)).items()
        if value
    }


async def test_attributes_can_be_changed(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="5")
    await sqs.client.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"VisibilityTimeout": "7", "DelaySeconds": "1"}
    )
    shown = await sqs.attributes(queue_url, "VisibilityTimeout", "DelaySeconds")
    assert shown == {"VisibilityTimeout": "7", "DelaySeconds": "1"}


async def test_attributes_out_of_range_are_refused(sqs: Sqs) -> None:
    for attributes in (
        {"VisibilityTimeout": "43201"},
        {"VisibilityTimeout": "-1"},
        {"VisibilityTimeout": "00000000009999999999"},
        {"DelaySeconds": "901"},
        {"ReceiveMessageWaitTimeSeconds": "21"},
        {"MessageRetentionPeriod": "59"},
        {"MaximumMessageSize": "1023"},
        {"MaximumMessageSize": "1048577"},
    ):
        assert await refusal(sqs.queue(**attributes)) == "InvalidAttributeValue", attributes


async def test_an_attribute_that_is_none_is_refused(sqs: Sqs) -> None:
    assert await refusal(sqs.queue(NoSuch="1")) == "InvalidAttributeName"


async def test_creating_it_again_returns_the_queue_there_is(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="5")
    name = queue_url.rpartition("/")[2]
    for attributes in ({}, {"VisibilityTimeout": "5"}):
        answer = await sqs.client.create_queue(
            QueueName=name,
            Attributes=attributes,  # type: ignore[arg-type] # names of attributes
        )
        assert answer["QueueUrl"] == queue_url


async def test_creating_it_again_with_other_attributes_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="5")
    name = queue_url.rpartition("/")[2]
    creating = sqs.client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "6"})
    assert await refusal(creating) in {"QueueAlreadyExists", "QueueNameExists"}


async def test_a_bad_name_is_refused(sqs: Sqs) -> None:
    for name in ("", "a b", "a.b", "ä", "x" * 81, "a.fifo"):
        code = await refusal(sqs.client.create_queue(QueueName=name))
        assert code in {INVALID_PARAMETER, "MissingParameter"}, name


async def test_a_queue_is_found_by_its_name(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    name = queue_url.rpartition("/")[2]
    assert (await sqs.client.get_queue_url(QueueName=name))["QueueUrl"] == queue_url
    assert await refusal(sqs.client.get_queue_url(QueueName=name + "-other")) == NO_QUEUE


async def test_a_prefix_that_no_queue_has_lists_nothing(sqs: Sqs) -> None:
    answer = await sqs.client.list_queues(QueueNamePrefix=f"none-{uuid4().hex}")
    assert not answer.get("QueueUrls")


async def test_a_deleted_queue_is_gone(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    sqs.made.remove(queue_url)
    await sqs.client.delete_queue(QueueUrl=queue_url)
    await sqs.pass_time(1)
    assert await refusal(sqs.client.receive_message(QueueUrl=queue_url)) == NO_QUEUE


async def test_purging_deletes_every_message(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="600")
    await sqs.send(queue_url, "a", "b")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.purge_queue(QueueUrl=queue_url)
    assert await sqs.counts(queue_url) == (0, 0, 0)
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
