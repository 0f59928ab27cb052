"""The servers over which the suite runs.

`SQS_TEST_ENDPOINT_URL` adds one: AWS's own (https://sqs.eu-central-1.amazonaws.com, credentials and
AWS_REGION the standard way), ElasticMQ, LocalStack. `SQS_TEST_PROTOCOL=query` speaks the older
protocol to it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from types_aiobotocore_sqs import SQSClient
from types_aiobotocore_sqs.literals import QueueAttributeNameType
from types_aiobotocore_sqs.type_defs import MessageTypeDef

from devkit.sqs import SqsServer
from tests.aws import moto_server
from tests.integration.sqs.plain_client import Protocol, plain_client

ENDPOINT_VARIABLE = "SQS_TEST_ENDPOINT_URL"
_LONGEST_REAL_WAIT_SECONDS = 5


def server_names() -> list[str]:
    """Return the parameter values of the suite."""
    named = ["endpoint"] if os.environ.get(ENDPOINT_VARIABLE) else []
    return ["devkit-json", "devkit-query", "moto", *named]


@dataclass
class Sqs:
    """A server with a plain client to it; `now` is the server's clock, in seconds."""

    name: str
    client: SQSClient
    pass_time: Callable[[float], Awaitable[None]]
    now: Callable[[], float]
    made: list[str] = field(default_factory=list)

    async def queue(self, suffix: str = "", **attributes: str) -> str:
        """Create a queue of a new name and return its URL."""
        return await self.named_queue(f"test-{uuid4().hex}{suffix}", **attributes)

    async def named_queue(self, name: str, **attributes: str) -> str:
        answer = await self.client.create_queue(
            QueueName=name,
            Attributes=attributes,  # type: ignore[arg-type] # the names are those of attributes
        )
        self.made.append(answer["QueueUrl"])
        return answer["QueueUrl"]

    async def fifo_queue(self, **attributes: str) -> str:
        return await self.queue(".fifo", FifoQueue="true", **attributes)

    async def delete_queues(self) -> None:
        """Delete the queues made here."""
        while self.made:
            await self.client.delete_queue(QueueUrl=self.made.pop())

    async def arn(self, queue_url: str) -> str:
        return (await self.attributes(queue_url, "QueueArn"))["QueueArn"]

    async def attributes(self, queue_url: str, *names: QueueAttributeNameType) -> dict[str, str]:
        answer = await self.client.get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=names or ["All"]
        )
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    async def counts(self, queue_url: str) -> tuple[int, int, int]:
        """Return how many messages are visible, in flight, delayed."""
        shown = await self.attributes(
            queue_url,
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        return (
            int(shown["ApproximateNumberOfMessages"]),
            int(shown["ApproximateNumberOfMessagesNotVisible"]),
            int(shown["ApproximateNumberOfMessagesDelayed"]),
        )

    async def send(self, queue_url: str, *bodies: str) -> list[str]:
        """Send messages one by one and return their ids."""
        return [
            (await self.client.send_message(QueueUrl=queue_url, MessageBody=body))["MessageId"]
            for body in bodies
        ]

    async def receive(
        self, queue_url: str, count: int = 10, *, wait_seconds: int = 1, **options: int
    ) -> list[MessageTypeDef]:
        """Receive once."""
        answer = await self.client.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **options,  # type: ignore[arg-type] # VisibilityTimeout alone
        )
        return answer.get("Messages", [])

    async def receive_all(self, queue_url: str, count: int) -> list[MessageTypeDef]:
        """Receive until `count` messages came: AWS may give fewer at a time than there are."""
        received: list[MessageTypeDef] = []
        async with asyncio.timeout(60):
            while len(received) < count:
                received += await self.receive(queue_url, min(10, count - len(received)))
        return received

    async def is_empty(self, queue_url: str) -> bool:
        """Tell whether a receive without waiting finds nothing."""
        return not await self.receive(queue_url, wait_seconds=0)


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Sqs]:
    """Open the server of a parameter value."""
    if name == "moto":
        with moto_server() as url:
            async with _in_real_time(name, url, "json", signed_by_anyone=True) as sqs:
                yield sqs
    elif name == "endpoint":
        protocol: Protocol = "query" if os.environ.get("SQS_TEST_PROTOCOL") == "query" else "json"
        url = os.environ[ENDPOINT_VARIABLE]
        async with _in_real_time(name, url, protocol, signed_by_anyone=False) as sqs:
            yield sqs
    else:
        async with _devkit("json" if name == "devkit-json" else "query") as sqs:
            yield sqs


@asynccontextmanager
async def _devkit(protocol: Protocol) -> AsyncIterator[Sqs]:
    """The devkit's server, whose clock is moved by hand."""

    async def pass_time(seconds: float) -> None:
        server.advance(seconds)

    async with (
        SqsServer(protocols=(protocol,)) as server,
        plain_client(server.endpoint_url, protocol) as client,
    ):
        yield Sqs(f"devkit-{protocol}", client, pass_time, server.now)


@asynccontextmanager
async def _in_real_time(
    name: str, endpoint_url: str, protocol: Protocol, *, signed_by_anyone: bool
) -> AsyncIterator[Sqs]:
    """A server that only real time moves; what would take long is skipped."""

    async def pass_time(seconds: float) -> None:
        if seconds > _LONGEST_REAL_WAIT_SECONDS:
            pytest.skip(f"takes {seconds} s of real time")
        await asyncio.sleep(seconds)

    async with plain_client(endpoint_url, protocol, signed_by_anyone=signed_by_anyone) as client:
        yield Sqs(name, client, pass_time, time.time)
