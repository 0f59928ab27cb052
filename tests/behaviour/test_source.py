"""What SQS does, as far as the pipeline counts on it: over HTTP and in memory alike."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from consumer.messages import Message
from consumer.pipeline.ports import BatchFailure, Source
from tests.behaviour.queues import VISIBILITY_SECONDS, FakeQueue, QueueUnderTest, real_queue
from tests.fakes.queue import MemoryQueue


@pytest.fixture(params=["fake", "real"])
async def queue(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[QueueUnderTest]:
    if request.param == "fake":
        yield FakeQueue()
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    async with real_queue() as queue:
        yield queue


async def received(queue: QueueUnderTest, *bodies: str) -> Sequence[Message]:
    await queue.send(*bodies)
    messages = await queue.source.receive()
    assert sorted(message.body for message in messages) == sorted(bodies)
    return messages


def final(refused: Sequence[BatchFailure]) -> list[tuple[str, bool]]:
    return [(each.message.message_id, each.handle_expired) for each in refused]


async def test_an_empty_queue_gives_nothing(queue: QueueUnderTest) -> None:
    assert list(await queue.source.receive()) == []


async def test_a_receive_brings_ten_at_most_and_hides_them(queue: QueueUnderTest) -> None:
    await queue.send(*(str(number) for number in range(14)))
    first = await queue.source.receive()
    assert len(first) == 10
    assert queue.counts() == (4, 10)
    second = await queue.source.receive()
    assert len(second) == 4
    assert len({message.message_id for message in (*first, *second)}) == 14
    assert list(await queue.source.receive()) == []


async def test_a_redelivered_message_is_the_same_but_for_its_handle(
    queue: QueueUnderTest,
) -> None:
    (first,) = await received(queue, "é")
    queue.advance(VISIBILITY_SECONDS + 1)
    (again,) = await queue.source.receive()
    assert first.receipt_handle != again.receipt_handle
    assert again._replace(receipt_handle=first.receipt_handle) == first


async def test_a_message_is_hidden_for_the_visibility_timeout_and_no_longer(
    queue: QueueUnderTest,
) -> None:
    await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS - 1)
    assert list(await queue.source.receive()) == []
    queue.advance(2)
    assert len(await queue.source.receive()) == 1


async def test_a_deleted_message_is_gone(queue: QueueUnderTest) -> None:
    messages = await received(queue, "a", "b")
    assert list(await queue.source.delete(messages[:1])) == []
    assert queue.counts() == (0, 1)
    queue.advance(VISIBILITY_SECONDS + 1)
    assert [each.body for each in await queue.source.receive()] == [messages[1].body]


async def test_a_delete_may_be_repeated(queue: QueueUnderTest) -> None:
    messages = await received(queue, "a")
    await queue.source.delete(messages)
    assert list(await queue.source.delete(messages)) == []


async def test_a_delete_after_the_timeout_deletes_if_nobody_has_received_it_since(
    queue: QueueUnderTest,
) -> None:
    messages = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS + 1)
    assert list(await queue.source.delete(messages)) == []
    assert list(await queue.source.receive()) == []


async def test_a_delete_with_an_old_handle_is_confirmed_and_does_nothing(
    queue: QueueUnderTest,
) -> None:
    old = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS + 1)
    new = await queue.source.receive()
    assert list(await queue.source.delete(old)) == []
    assert queue.counts() == (0, 1)
    assert list(await queue.source.delete(new)) == []
    assert queue.counts() == (0, 0)


async def test_an_extension_hides_from_now_on(queue: QueueUnderTest) -> None:
    messages = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS - 1)
    assert list(await queue.source.extend(messages, VISIBILITY_SECONDS)) == []
    queue.advance(VISIBILITY_SECONDS - 1)
    assert list(await queue.source.receive()) == []
    queue.advance(2)
    assert len(await queue.source.receive()) == 1


async def test_an_extension_by_nothing_shows_at_once(queue: QueueUnderTest) -> None:
    messages = await received(queue, "a", "b")
    assert list(await queue.source.extend(messages[:1], 0)) == []
    assert queue.counts() == (1, 1)
    assert [each.body for each in await queue.source.receive()] == [messages[0].body]


async def test_an_extension_with_an_old_handle_hides_the_message_too(
    queue: QueueUnderTest,
) -> None:
    old = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS + 1)
    await queue.source.receive()
    assert final(await queue.source.extend(old, 2 * VISIBILITY_SECONDS)) == []
    queue.advance(VISIBILITY_SECONDS + 1)
    assert queue.counts() == (0, 1)


async def test_a_release_with_an_old_handle_shows_the_message(queue: QueueUnderTest) -> None:
    old = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS + 1)
    await queue.source.receive()
    assert final(await queue.source.extend(old, 0)) == []
    assert queue.counts() == (1, 0)


async def test_an_extension_after_the_timeout_hides_the_message_again(
    queue: QueueUnderTest,
) -> None:
    messages = await received(queue, "a")
    queue.advance(VISIBILITY_SECONDS + 1)
    assert final(await queue.source.extend(messages, 30)) == []
    assert queue.counts() == (0, 1)
    assert list(await queue.source.receive()) == []


async def test_an_extension_of_what_is_deleted_is_refused_for_good(queue: QueueUnderTest) -> None:
    messages = await received(queue, "a", "b")
    await queue.source.delete(messages[:1])
    refused = await queue.source.extend(messages, 30)
    assert final(refused) == [(messages[0].message_id, True)]
    queue.advance(VISIBILITY_SECONDS - 1)
    assert queue.counts() == (0, 1)


async def test_what_is_shown_again_may_still_be_deleted_with_its_handle(
    queue: QueueUnderTest,
) -> None:
    messages = await received(queue, "a")
    await queue.source.extend(messages, 0)
    assert list(await queue.source.delete(messages)) == []
    assert queue.counts() == (0, 0)


async def test_a_receive_that_waits_gets_what_comes_meanwhile(queue: QueueUnderTest) -> None:
    await received(queue, "a")
    async with asyncio.TaskGroup() as tasks:
        receive = tasks.create_task(receive_with(queue.waiting_source()))
        await asyncio.sleep(0)
        await queue.send("b")
    assert [message.body for message in receive.result()] == ["b"]


async def test_a_receive_that_is_given_up_takes_no_message_of_the_queue_in_memory() -> None:
    queue = MemoryQueue(call_seconds=0)
    receive = asyncio.create_task(receive_with(queue))
    await asyncio.sleep(0)
    receive.cancel()
    await asyncio.wait([receive])
    queue.send("a")
    await asyncio.sleep(0)
    assert (queue.remaining, queue.hidden) == (1, 0)


async def receive_with(source: Source) -> Sequence[Message]:
    return await source.receive()
