"""The aiobotocore client: sessions, credentials, regions, and every call that is not hot."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from consumer.errors import QueueError, SettingsError
from consumer.sqs.answers import Answer, Operation, Payload, error_of

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

_REGION_IN_HOST = re.compile(r"^https?://(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)amazonaws\.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where SQS is: `url` None for AWS itself, `region` None for the environment's or profile's."""

    url: str | None
    region: str | None


@asynccontextmanager
async def open_client(
    endpoint: Endpoint, queue_url: str, *, connections: int, timeout_seconds: float
) -> AsyncIterator["SQSClient"]:
    """Open an SQS client that never retries by itself: the pipeline decides when to call again.

    `connections` must be as many as calls are ever open at once: if a delete had to wait for the
    connection of a long poll, a full queue of polls could stop the deleting.

    Raises:
        SettingsError: no region is to be had.
    """
    session = get_session()
    match = _REGION_IN_HOST.match(queue_url)
    region = endpoint.region or (match and (match[1] or match[2])) or None
    region = region or cast("str | None", session.get_config_variable("region"))
    if region is None and endpoint.url is None:
        raise SettingsError("sqs.region is not set: set it, or AWS_REGION, to the queue's region")
    config = AioConfig(
        max_pool_connections=connections,
        connect_timeout=min(5.0, timeout_seconds),
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
    )
    async with session.create_client(
        "sqs", region_name=region or "us-east-1", endpoint_url=endpoint.url, config=config
    ) as client:
        yield client


@asynccontextmanager
async def translated(operation: str) -> AsyncIterator[None]:
    """Raise what botocore raises inside as QueueError, without its text."""
    try:
        yield
    except ClientError as error:
        failure = error_of(operation, error.response.get("Error", {}).get("Code", "Unknown"))
    except NoCredentialsError:
        failure = error_of(operation, "NoCredentials")
    except (BotoCoreError, OSError, TimeoutError) as error:
        failure = QueueError(operation, type(error).__name__)
    else:
        return
    raise failure


class PlainTransport:
    """Calls SQS through aiobotocore's own client."""

    def __init__(self, client: "SQSClient") -> None:
        self._methods: dict[Operation, Callable[..., Awaitable[object]]] = {
            "ReceiveMessage": client.receive_message,
            "DeleteMessageBatch": client.delete_message_batch,
            "ChangeMessageVisibilityBatch": client.change_message_visibility_batch,
        }

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Answer:
        """Call once within `seconds`; see Transport."""
        async with translated(operation), asyncio.timeout(seconds):
            return cast("Answer", await self._methods[operation](**payload))
