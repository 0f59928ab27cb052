"""Visibility timeouts: who receives a message has it alone for a while."""

from tests.integration.sqs.behaviour.errors import INVALID_PARAMETER, refusal
from tests.integration.sqs.behaviour.servers import Sqs

TWELVE_HOURS = 43_200


async def test_a_received_message_is_hidden_and_counted_as_in_flight(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    assert await sqs.counts(queue_url) == (1, 0, 0)
    await sqs.receive_all(queue_url, 1)
    assert await sqs.is_empty(queue_url)
    assert await sqs.counts(queue_url) == (0, 1, 0)


async def test_it_is_redelivered_when_its_visibility_timeout_ends(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="2")
    await sqs.send(queue_url, "body")
    (first,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(2.1)
    (second,) = await sqs.receive_all(queue_url, 1)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert second["Attributes"][name] == first["Attributes"][name]


async def test_a_receive_may_set_its_own_visibility_timeout(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    assert await sqs.receive(queue_url, VisibilityTimeout=30)
    await sqs.pass_time(1.1)
    assert await sqs.is_empty(queue_url)


async def test_a_visibility_timeout_of_zero_hides_nothing(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    assert await sqs.receive(queue_url, VisibilityTimeout=0)
    assert len(await sqs.receive_all(queue_url, 1)) == 1


async def test_a_change_prolongs_the_visibility_timeout(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=30
    )
    await sqs.pass_time(1.1)
    assert await sqs.is_empty(queue_url)


async def test_a_change_shortens_the_visibility_timeout(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1
    )
    await sqs.pass_time(1.1)
    assert len(await sqs.receive_all(queue_url, 1)) == 1


async def test_a_change_to_zero_shows_the_message_at_once(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    assert await sqs.counts(queue_url) == (1, 0, 0)
    assert len(await sqs.receive_all(queue_url, 1)) == 1


async def test_a_batch_of_changes_tells_which_failed(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "a", "b")
    first, second = await sqs.receive_all(queue_url, 2)
    answer = await sqs.client.change_message_visibility_batch(
        QueueUrl=queue_url,
        Entries=[
            {"Id": "0", "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "1", "ReceiptHandle": "nonsense", "VisibilityTimeout": 0},
            {
                "Id": "2",
                "ReceiptHandle": second["ReceiptHandle"],
                "VisibilityTimeout": TWELVE_HOURS + 1,
            },
        ],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["0"]
    failed = {each["Id"]: (each["Code"], each["SenderFault"]) for each in answer["Failed"]}
    assert failed == {"1": ("ReceiptHandleIsInvalid", True), "2": (INVALID_PARAMETER, True)}
    assert await sqs.counts(queue_url) == (1, 1, 0)


async def test_an_expired_handle_hides_the_message_again(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    handle = message["ReceiptHandle"]
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=30
    )
    assert await sqs.counts(queue_url) == (0, 1, 0)
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0
    )
    for _ in range(2):  # once, although it was made visible twice
        received = await sqs.receive(queue_url, wait_seconds=0, VisibilityTimeout=0)
        assert len(received) == 1


async def test_a_superseded_handle_changes_the_visibility(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="1")
    await sqs.send(queue_url, "body")
    (first,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(1.1)
    await sqs.receive_all(queue_url, 1)
    for seconds, counts in ((30, (0, 1, 0)), (0, (1, 0, 0)), (30, (0, 1, 0))):
        await sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=seconds
        )
        assert await sqs.counts(queue_url) == counts


async def test_a_deleted_message_cannot_be_hidden(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    handle = message["ReceiptHandle"]
    await sqs.client.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)
    code = await refusal(
        sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=30
        )
    )
    assert code == INVALID_PARAMETER


async def test_a_handle_that_is_none_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    code = await refusal(
        sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle="nonsense", VisibilityTimeout=30
        )
    )
    assert code == "ReceiptHandleIsInvalid"


async def test_a_visibility_timeout_out_of_range_is_refused(sqs: Sqs) -> None:
    queue_url = await sqs.queue()
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    handle = message["ReceiptHandle"]
    for seconds in (-1, TWELVE_HOURS + 1):
        changing = sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=seconds
        )
        assert await refusal(changing) == INVALID_PARAMETER, seconds


async def test_a_message_is_hidden_for_twelve_hours_in_all_at_most(sqs: Sqs) -> None:
    queue_url = await sqs.queue(VisibilityTimeout="30")
    await sqs.send(queue_url, "body")
    (message,) = await sqs.receive_all(queue_url, 1)
    await sqs.pass_time(20)
    handle = message["ReceiptHandle"]
    code = await refusal(
        sqs.client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=TWELVE_HOURS - 10
        )
    )
    assert code == INVALID_PARAMETER
    await sqs.client.change_message_visibility(
        QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=TWELVE_HOURS - 30
    )
