"""What tests see of a queue and do to it in this process; HTTP is tested elsewhere."""

import json

import pytest

from devkit.sqs import Draft, Queue, SqsServer


@pytest.fixture
def server() -> SqsServer:
    server = SqsServer()
    server.create_queue("q", {"VisibilityTimeout": "30"})
    return server


@pytest.fixture
def queue(server: SqsServer) -> Queue:
    return server.queue("q")


def test_messages_are_listed_hidden_or_not(queue: Queue) -> None:
    sent = [queue.send(Draft.from_body(body)) for body in "abc"]
    queue.receive(2)
    assert queue.messages() == sent
    assert [message.body for message in queue.messages()] == ["a", "b", "c"]
    assert (queue.visible, queue.in_flight, queue.delayed) == (1, 2, 0)


def test_a_body_may_be_one_that_a_send_refuses(queue: Queue) -> None:
    queue.send(Draft.from_body("bell \x07, lone surrogate \ud800"))
    (message,) = queue.receive(1)
    assert message.body == "bell \x07, lone surrogate \ud800"


def test_a_handle_finds_its_message_until_that_is_deleted(queue: Queue) -> None:
    queue.send(Draft.from_body("a"))
    (message,) = queue.receive(1)
    handle = queue.receipt_handle(message)
    assert queue.find(handle) is message
    queue.delete(handle)
    assert queue.find(handle) is None
    assert queue.find("nonsense") is None


def test_of_many_changes_of_visibility_the_last_counts(server: SqsServer, queue: Queue) -> None:
    queue.send(Draft.from_body("a"))
    (message,) = queue.receive(1)
    handle = queue.receipt_handle(message)
    for seconds in (1, 300, 2, 60):
        queue.change_visibility(handle, seconds)
    server.advance(58)
    assert (queue.visible, queue.in_flight) == (0, 1)
    server.advance(4)
    assert (queue.visible, queue.in_flight) == (1, 0)
    server.advance(300)
    assert len(queue.receive(10)) == 1


def test_any_number_of_changes_of_visibility_is_kept_in_time(
    server: SqsServer, queue: Queue
) -> None:
    for count in range(1, 200):
        queue.send(Draft.from_body("a"))
        (message,) = queue.receive(1)
        handle = queue.receipt_handle(message)
        for _ in range(count):
            queue.change_visibility(handle, 40)
        server.advance(41)
        assert (queue.visible, queue.in_flight) == (1, 0), count
        queue.delete(handle)


def test_a_deleted_message_may_be_delivered_once_more(queue: Queue) -> None:
    queue.send(Draft.from_body("a"))
    (message,) = queue.receive(1)
    queue.delete(queue.receipt_handle(message))
    queue.adopt(message)
    (again,) = queue.receive(10)
    assert (again.message_id, again.sent_ms) == (message.message_id, message.sent_ms)
    assert again.receive_count == 2
    assert queue.find(queue.receipt_handle(message)) is None


def test_dead_letters_keep_their_id_and_time(server: SqsServer) -> None:
    server.create_queue("dead")
    policy = {"deadLetterTargetArn": server.queue("dead").arn, "maxReceiveCount": 1}
    server.create_queue("source", {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "0"})
    sent = server.queue("source").send(Draft.from_body("a"))
    assert len(server.queue("source").receive(1)) == 1
    server.advance(5)
    assert server.queue("source").receive(1) == []
    (dead,) = server.queue("dead").messages()
    assert (dead.message_id, dead.sent_ms) == (sent.message_id, sent.sent_ms)
    assert dead.dead_letter_source == server.queue("source").arn
