"""The double's own: clients that went away, injected faults, counters, its process."""

import asyncio
import json
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator

import pytest
from types_aiobotocore_sqs import SQSClient

from devkit.sqs import (
    AnswerError,
    Code,
    Delay,
    DeliverTwice,
    Disconnect,
    InjectedFault,
    RefuseEntries,
    Request,
    SqsServer,
)
from tests.integration.sqs.behaviour.errors import refusal
from tests.integration.sqs.plain_client import Protocol, plain_client
from tests.waiting import eventually

DEADLINE_SECONDS = 30
INTERNAL = Code("InternalError", "InternalError", 500)


@pytest.fixture
async def server() -> AsyncIterator[SqsServer]:
    async with SqsServer() as server:
        yield server


@pytest.fixture
async def client(server: SqsServer) -> AsyncIterator[SQSClient]:
    async with plain_client(server.endpoint_url) as client:
        yield client


def request(operation: str, **parameters: object) -> bytes:
    """Return a request of the JSON protocol."""
    body = json.dumps(parameters).encode()
    head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def connect(server: SqsServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(server.endpoint_url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port)


async def answer_from(reader: asyncio.StreamReader) -> dict[str, list[dict[str, str]]]:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (int(each[15:]) for each in head.lower().split(b"\r\n") if b"content-len" in each)
    answer: dict[str, list[dict[str, str]]] = json.loads(await reader.readexactly(length))
    return answer


async def test_a_client_that_has_gone_is_never_handed_a_message(
    server: SqsServer, client: SQSClient
) -> None:
    port = int(server.endpoint_url.rpartition(":")[2])
    for number in range(50):
        server.calls.clear()
        queue_url = server.create_queue(f"q{number}")
        # A plain socket, for it closes at once, and not in the loop's next turn.
        poll = socket.create_connection(("127.0.0.1", port))
        poll.sendall(request("ReceiveMessage", QueueUrl=queue_url, WaitTimeSeconds=20))
        await eventually(lambda: server.calls["ReceiveMessage"] == 1)
        if number % 2:  # with a reset in place of an orderly end
            poll.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        poll.close()
        await client.send_message(QueueUrl=queue_url, MessageBody="body")
        assert server.queue(f"q{number}").visible == 1


async def test_a_client_that_asks_for_it_learns_that_the_connection_closes(
    server: SqsServer,
) -> None:
    reader, writer = await connect(server)
    writer.write(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await reader.read()
    assert b"\r\nConnection: close\r\n\r\nok\n" in answer
    writer.close()


async def test_pipelined_polls_lose_no_message(server: SqsServer, client: SQSClient) -> None:
    queue_url = server.create_queue("q")
    poll = request("ReceiveMessage", QueueUrl=queue_url, WaitTimeSeconds=20)
    reader, writer = await connect(server)
    other_reader, other_writer = await connect(server)
    writer.write(poll * 2)
    other_writer.write(poll * 2)
    await eventually(lambda: server.calls["ReceiveMessage"] == 2)
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(6)]
    await client.send_message_batch(
        QueueUrl=queue_url,
        Entries=entries,  # type: ignore[arg-type] # of the shape of entries
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = [await answer_from(each) for each in [reader, other_reader] * 2]
    bodies = [each["Messages"][0]["Body"] for each in answers]
    assert sorted(bodies) == ["0", "1", "2", "3"]
    assert (server.queue("q").visible, server.queue("q").in_flight) == (2, 4)
    writer.close()
    other_writer.close()


async def test_a_poll_ends_when_the_clock_is_moved() -> None:
    async with SqsServer() as server, plain_client(server.endpoint_url) as client:
        queue_url = server.create_queue("q", {"VisibilityTimeout": "600"})
        await client.send_message(QueueUrl=queue_url, MessageBody="body")
        await client.receive_message(QueueUrl=queue_url)
        poll = asyncio.create_task(client.receive_message(QueueUrl=queue_url, WaitTimeSeconds=20))
        await eventually(lambda: server.calls["ReceiveMessage"] == 2)
        server.advance(601)
        async with asyncio.timeout(15):
            assert len((await poll)["Messages"]) == 1


async def test_empty_lists_are_left_out(server: SqsServer, client: SQSClient) -> None:
    assert "QueueUrls" not in await client.list_queues()
    queue_url = server.create_queue("q")
    sent = await client.send_message_batch(
        QueueUrl=queue_url, Entries=[{"Id": "a", "MessageBody": "body"}]
    )
    assert (len(sent["Successful"]), "Failed" in sent) == (1, False)
    deleted = await client.delete_message_batch(
        QueueUrl=queue_url, Entries=[{"Id": "a", "ReceiptHandle": "nonsense"}]
    )
    assert (len(deleted["Failed"]), "Successful" in deleted) == (1, False)
    assert "Messages" in await client.receive_message(QueueUrl=queue_url)
    assert "Messages" not in await client.receive_message(QueueUrl=queue_url)
    assert "Attributes" not in await client.get_queue_attributes(QueueUrl=queue_url)


async def test_calls_are_counted_by_operation(server: SqsServer, client: SQSClient) -> None:
    queue_url = server.create_queue("q")
    await client.send_message(QueueUrl=queue_url, MessageBody="body")
    for _ in range(3):
        await client.receive_message(QueueUrl=queue_url)
    assert server.calls == {"SendMessage": 1, "ReceiveMessage": 3}


def inject(server: SqsServer, operation: str, fault: InjectedFault) -> None:
    def befalls(request: Request) -> InjectedFault | None:
        return fault if request.operation == operation else None

    server.fault_for = befalls


async def test_a_injected_error_is_answered_instead_of_acting(
    server: SqsServer, client: SQSClient
) -> None:
    queue_url = server.create_queue("q")
    inject(server, "SendMessage", AnswerError(INTERNAL))
    sending = client.send_message(QueueUrl=queue_url, MessageBody="body")
    assert await refusal(sending) == "InternalError"
    assert server.queue("q").visible == 0


async def test_a_injected_error_may_come_after_acting(server: SqsServer, client: SQSClient) -> None:
    queue_url = server.create_queue("q")
    inject(server, "SendMessage", AnswerError(INTERNAL, after_acting=True))
    await refusal(client.send_message(QueueUrl=queue_url, MessageBody="body"))
    assert server.queue("q").visible == 1
    inject(server, "ReceiveMessage", AnswerError(INTERNAL, after_acting=True))
    await refusal(client.receive_message(QueueUrl=queue_url))
    assert server.queue("q").in_flight == 1


@pytest.mark.parametrize("after_acting", [False, True])
async def test_a_connection_breaks_where_that_is_injected(
    server: SqsServer, *, after_acting: bool
) -> None:
    queue_url = server.create_queue("q")
    inject(server, "SendMessage", Disconnect(after_acting=after_acting))
    reader, writer = await connect(server)
    writer.write(request("SendMessage", QueueUrl=queue_url, MessageBody="body"))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await answer_from(reader)
    assert server.queue("q").visible == after_acting
    writer.close()


async def test_a_injected_delay_comes_before_acting(server: SqsServer, client: SQSClient) -> None:
    queue_url = server.create_queue("q")
    inject(server, "SendMessage", Delay(0.2))
    sending = asyncio.create_task(client.send_message(QueueUrl=queue_url, MessageBody="body"))
    await eventually(lambda: server.calls["SendMessage"] == 1)
    assert server.queue("q").visible == 0
    await sending
    assert server.queue("q").visible == 1


async def test_a_message_is_delivered_twice_where_that_is_injected(
    server: SqsServer, client: SQSClient
) -> None:
    queue_url = server.create_queue("q")
    await client.send_message(QueueUrl=queue_url, MessageBody="body")
    faults = iter([DeliverTwice(), None])
    server.fault_for = lambda _: next(faults)
    first = await client.receive_message(QueueUrl=queue_url)
    second = await client.receive_message(QueueUrl=queue_url)
    assert first["Messages"][0]["MessageId"] == second["Messages"][0]["MessageId"]
    assert server.queue("q").in_flight == 1


async def test_injected_refusals_fail_and_the_others_are_acted_on(
    server: SqsServer, client: SQSClient
) -> None:
    queue_url = server.create_queue("q")
    inject(server, "SendMessageBatch", RefuseEntries({"b": INTERNAL}))
    answer = await client.send_message_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": "a", "MessageBody": "body"}, {"Id": "b", "MessageBody": "body"}],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("b", "InternalError", False)
    assert server.queue("q").visible == 1


async def test_a_fault_is_decided_by_the_parameters_in_either_protocol(server: SqsServer) -> None:
    queue_url = server.create_queue("q")
    seen: list[Request] = []
    server.fault_for = seen.append
    protocols: list[Protocol] = ["json", "query"]
    for protocol in protocols:
        async with plain_client(server.endpoint_url, protocol) as client:
            await client.send_message(QueueUrl=queue_url, MessageBody="body", DelaySeconds=5)
    assert [each.operation for each in seen] == ["SendMessage"] * 2
    for each in seen:
        assert each.parameters["QueueUrl"] == queue_url
        assert each.parameters["MessageBody"] == "body"
        assert each.parameters["DelaySeconds"] == 5


async def test_a_stopping_server_closes_what_waits() -> None:
    async with SqsServer() as server:
        queue_url = server.create_queue("q")
        reader, writer = await connect(server)
        writer.write(request("ReceiveMessage", QueueUrl=queue_url, WaitTimeSeconds=20))
        await eventually(lambda: server.calls["ReceiveMessage"] == 1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await answer_from(reader)
    writer.close()


async def test_the_process_serves_until_it_is_asked_to_stop() -> None:
    arguments = ["-m", "devkit.sqs", "--port", "0", "--queue", "q", "--queue", "f.fifo"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            queue_url = (await process.stdout.readline()).decode().strip()
            assert (await process.stdout.readline()).decode().strip().endswith("/f.fifo")
            assert b"a test double" in await process.stdout.readline()
            async with plain_client(queue_url.rpartition("/000000000000/")[0]) as client:
                await client.send_message(QueueUrl=queue_url, MessageBody="body")
                answer = await client.receive_message(QueueUrl=queue_url)
                assert answer["Messages"][0]["Body"] == "body"
            assert queue_url.startswith("http://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_port_that_is_taken_is_reported(server: SqsServer) -> None:
    port = server.endpoint_url.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "devkit.sqs", "--port", port],
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in errors.decode()
