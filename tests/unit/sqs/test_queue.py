"""What the attributes of a queue say, and what cannot be read."""

import asyncio

import pytest

from consumer.errors import QueueError, QueueRefusedError
from consumer.sqs.api import Operation, Payload, Response
from consumer.sqs.queue import QueueAttributes, queue_attributes, region_in


def read(attributes: object) -> QueueAttributes:
    class Answering:
        async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
            assert (operation, payload["AttributeNames"], seconds) == (
                "GetQueueAttributes",
                ["All"],
                3,
            )
            return {"Attributes": attributes}

    return asyncio.run(queue_attributes(Answering(), "url", timeout_seconds=3))


def test_attributes_are_read() -> None:
    attributes = {
        "VisibilityTimeout": "60",
        "RedrivePolicy": '{"maxReceiveCount": "5"}',
        "FifoQueue": "true",
        "ApproximateNumberOfMessages": "7",
        "ApproximateNumberOfMessagesNotVisible": "2",
        "New": {},
    }
    assert read(attributes) == QueueAttributes(60, 5, fifo=True, visible=7, in_flight=2)


@pytest.mark.parametrize("attributes", [{}, None])
def test_without_attributes_sqs_has_its_defaults(attributes: object) -> None:
    assert read(attributes) == QueueAttributes(30, None, fifo=False, visible=0, in_flight=0)


@pytest.mark.parametrize(
    "attributes",
    [
        "text",
        ["VisibilityTimeout"],
        {"VisibilityTimeout": "soon"},
        {"VisibilityTimeout": "-1"},
        {"VisibilityTimeout": None},
        {"VisibilityTimeout": float("inf")},
        {"VisibilityTimeout": []},
        {"ApproximateNumberOfMessages": "9" * 5000},
        {"RedrivePolicy": "text"},
        {"RedrivePolicy": "[1]"},
        {"RedrivePolicy": '{"maxReceiveCount": null}'},
        {"RedrivePolicy": '{"maxReceiveCount": Infinity}'},
        {"RedrivePolicy": '{"deadLetterTargetArn": "x"}'},
        {"RedrivePolicy": {"maxReceiveCount": 3}},
        {"RedrivePolicy": "[" * 100_000},
    ],
)
def test_attributes_that_cannot_be_read_are_an_error_of_the_queue(attributes: object) -> None:
    with pytest.raises(QueueError) as error:
        read(attributes)
    assert str(error.value) == "GetQueueAttributes: MalformedResponse"
    assert not isinstance(error.value, QueueRefusedError)


def test_a_queue_without_a_visibility_timeout_is_refused() -> None:
    with pytest.raises(QueueRefusedError, match="set 30"):
        read({"VisibilityTimeout": "0"})


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (QueueAttributes(9, None, fifo=False, visible=0, in_flight=0), ["VisibilityTimeout is 9"]),
        (QueueAttributes(10, 2, fifo=False, visible=0, in_flight=0), ["maxReceiveCount is 2"]),
        (QueueAttributes(10, 3, fifo=False, visible=0, in_flight=0), []),
    ],
)
def test_what_an_operator_should_change_is_a_warning(
    attributes: QueueAttributes, words: list[str]
) -> None:
    assert [warning.split(" s:")[0].split(":")[0] for warning in attributes.warnings()] == words


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/1/q", "eu-central-1"),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1"),
        ("http://127.0.0.1:9324/0/q", None),
    ],
)
def test_a_queue_url_of_aws_names_its_region(url: str, region: str | None) -> None:
    assert region_in(url) == region
