"""Opens a transport: what aiobotocore is kept for is here, sessions, credentials and regions."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError

from consumer.errors import SettingsError
from consumer.sqs.address import QueueAddress, region_in
from consumer.sqs.answers import Answer, Operation, Payload, Transport, error_of
from consumer.sqs.credentials import SessionCredentials
from consumer.sqs.http import HttpClient
from consumer.sqs.lean import LeanTransport
from consumer.sqs.signing import Signer

_ANY_REGION = "us-east-1"
_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_transport(address: QueueAddress) -> AsyncIterator[Transport]:
    """Open the way to the queue. Nothing is sent yet.

    A proxy of the environment is honoured by aiobotocore's client alone, so that one is taken then.
    It speaks JSON and nothing else.

    Raises:
        SettingsError: the region is not known, AWS's own settings are wrong, or the query protocol
            is to go through a proxy.
    """
    session = get_session()
    region = _region(address, session)
    url = address.endpoint_url or address.queue_url
    is_proxied = _is_proxied(url)
    if is_proxied and address.protocol == "query":
        raise SettingsError(
            'sqs.protocol "query" does not go through the proxy that the environment names:'
            " let NO_PROXY name the queue's host"
        )
    if address.transport == "aiobotocore" or is_proxied:
        async with AsyncExitStack() as stack:
            yield await _plain_transport(address, session, region, stack)
        return
    http = HttpClient(url, _tls(session) if url.startswith("https:") else None)
    protocol = None if address.protocol == "auto" else address.protocol
    credentials = SessionCredentials(session)
    try:
        yield LeanTransport(http, Signer("sqs", region), credentials, time.time, protocol)
    finally:
        http.close()


async def _plain_transport(
    address: QueueAddress, session: AioSession, region: str, stack: AsyncExitStack
) -> Transport:
    config = AioConfig(
        max_pool_connections=address.max_open_calls,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=address.longest_call_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the pipeline tries again
        tcp_keepalive=True,
    )
    creating = session.create_client(
        "sqs", region_name=region, endpoint_url=address.endpoint_url, config=config
    )
    try:
        client = await stack.enter_async_context(creating)
    except BotoCoreError as error:  # it reads the credentials as it is made
        raise _wrong_configuration(error) from None
    return PlainTransport(
        {
            "ReceiveMessage": client.receive_message,
            "DeleteMessageBatch": client.delete_message_batch,
            "ChangeMessageVisibilityBatch": client.change_message_visibility_batch,
            "GetQueueAttributes": client.get_queue_attributes,
            "SendMessageBatch": client.send_message_batch,
        }
    )


class PlainTransport:
    """Calls SQS through the methods of aiobotocore's own client."""

    def __init__(self, methods: dict[Operation, Callable[..., Awaitable[object]]]) -> None:
        self._methods = methods

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Answer:
        """Call once within `seconds`; see Transport."""
        try:
            async with asyncio.timeout(seconds):
                return cast("Answer", await self._methods[operation](**payload))
        except ClientError as error:
            failure = error_of(operation, error.response.get("Error", {}).get("Code", "Unknown"))
        except NoCredentialsError:
            failure = error_of(operation, "NoCredentials")
        except SSLError:
            failure = error_of(operation, "CertificateNotTrusted")
        except (BotoCoreError, OSError, TimeoutError, RuntimeError) as error:
            failure = error_of(operation, type(error).__name__)
        # Raised here, it does not hold the driver's error, which quotes the request.
        raise failure


def _region(address: QueueAddress, session: AioSession) -> str:
    region = address.region or region_in(address.queue_url) or _configured(session, "region")
    if region is None and address.endpoint_url is None:
        raise SettingsError(
            "sqs.region is not set: set it, or AWS_DEFAULT_REGION, to the queue's region"
        )
    return region or _ANY_REGION


def _configured(session: AioSession, name: str) -> str | None:
    """Return a variable of AWS's own configuration."""
    try:
        return cast("str | None", session.get_config_variable(name))
    except BotoCoreError as error:
        raise _wrong_configuration(error) from None


def _wrong_configuration(error: BotoCoreError) -> SettingsError:
    kind = type(error).__name__
    return SettingsError(f"AWS's own configuration: {kind}: correct AWS_PROFILE or ~/.aws/config")


def _is_proxied(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def _tls(session: AioSession) -> ssl.SSLContext:
    ca_bundle = _configured(session, "ca_bundle")
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise SettingsError(f"AWS_CA_BUNDLE: {ca_bundle}: {reason}")
