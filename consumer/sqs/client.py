"""Opens a transport, with what aiobotocore does best: sessions, credentials and regions."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError

from consumer.errors import QueueError, QueueRefusedError, SettingsError
from consumer.sqs.api import Operation, Payload, Response, Transport, error_of
from consumer.sqs.http import HttpClient
from consumer.sqs.lean import LeanTransport
from consumer.sqs.queue import QueueAddress, region_in
from consumer.sqs.signing import Credentials, Signer

_ANY_REGION = "us-east-1"
_CONNECT_SECONDS = 5.0
_PROVIDER_ADVICE = (
    "the provider of the AWS credentials failed:"
    " check ~/.aws/config, its credential_process, and the metadata service"
)


@asynccontextmanager
async def open_transport(address: QueueAddress) -> AsyncIterator[Transport]:
    """Open a transport to the queue. Nothing is sent yet.

    Only aiobotocore's client supports proxies. It is used where the environment names one, and it
    supports JSON only.

    Raises:
        SettingsError: the region is unknown, AWS's own settings are wrong, or the query protocol
            would go through a proxy.
    """
    session = get_session()
    region = _region(address, session)
    url = address.endpoint_url or address.queue_url
    is_proxied = _is_proxied(url)
    if is_proxied and address.protocol == "query":
        raise SettingsError(
            'sqs.protocol "query" does not go through the proxy that the environment names:'
            " add the queue's host to NO_PROXY"
        )
    if address.transport == "aiobotocore" or is_proxied:
        async with AsyncExitStack() as stack:
            yield await _aiobotocore_transport(address, session, region, stack)
        return
    http = HttpClient(url, _tls(session) if url.startswith("https:") else None)
    protocol = None if address.protocol == "auto" else address.protocol
    credentials = SessionCredentials(session)
    try:
        yield LeanTransport(http, Signer("sqs", region), credentials, time.time, protocol)
    finally:
        http.close()


async def _aiobotocore_transport(
    address: QueueAddress, session: AioSession, region: str, stack: AsyncExitStack
) -> Transport:
    config = AioConfig(
        max_pool_connections=address.max_open_calls,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=address.longest_call_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the pipeline retries
        tcp_keepalive=True,
    )
    creating = session.create_client(
        "sqs", region_name=region, endpoint_url=address.endpoint_url, config=config
    )
    try:
        client = await stack.enter_async_context(creating)
    except Exception as error:  # noqa: BLE001 it reads the credentials
        raise _wrong_configuration(error) from None
    return AiobotocoreTransport(
        {
            "ReceiveMessage": client.receive_message,
            "DeleteMessageBatch": client.delete_message_batch,
            "ChangeMessageVisibilityBatch": client.change_message_visibility_batch,
            "GetQueueAttributes": client.get_queue_attributes,
            "SendMessageBatch": client.send_message_batch,
        }
    )


class AiobotocoreTransport:
    """Calls SQS through aiobotocore's client."""

    def __init__(self, methods: dict[Operation, Callable[..., Awaitable[Response]]]) -> None:
        self._methods = methods

    async def call(self, operation: Operation, payload: Payload, seconds: float) -> Response:
        """Call once within `seconds`; see Transport."""
        try:
            async with asyncio.timeout(seconds):
                return await self._methods[operation](**payload)
        except ClientError as error:
            failure = error_of(operation, _code_of(error))
        except NoCredentialsError:
            failure = error_of(operation, "NoCredentials")
        except SSLError:
            failure = error_of(operation, "CertificateNotTrusted")
        except (BotoCoreError, OSError, TimeoutError, RuntimeError) as error:
            failure = error_of(operation, type(error).__name__)
        except Exception as error:  # noqa: BLE001 see SessionCredentials
            failure = QueueError(operation, type(error).__name__, _PROVIDER_ADVICE)
        # Raised outside of the handler, so that it has no context: that quotes the request.
        raise failure


class SessionCredentials:
    """The current credentials of an aiobotocore session, which are refreshed by their provider."""

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self._provided: AioCredentials | AioRefreshableCredentials | None = None
        self._known: ReadOnlyCredentials | None = None
        self._credentials = Credentials("", "")

    async def __call__(self, deadline: float) -> Credentials:
        """Return the credentials; the same object as long as they are the same.

        Raises:
            QueueRefusedError: there are none, or they were refused.
            QueueError: their provider failed.
            TimeoutError: they did not arrive by `deadline`, by the event loop's clock.
        """
        try:
            known = await self._frozen(deadline)
        except TimeoutError:
            raise
        except ClientError as error:
            failure = _credentials_error(_code_of(error))
        except Exception as error:  # noqa: BLE001 a credential provider can raise anything
            failure = _credentials_error(type(error).__name__)
        else:
            if known is None or not known.access_key or not known.secret_key:
                failure = error_of("credentials", "NoCredentials")
            elif known != self._known and not _fit_a_header(known):
                advice = "one has a character that no header can have, such as a line end"
                failure = QueueRefusedError("credentials", "NotPrintable", advice)
            else:
                return self._of(known)
        raise failure

    def _of(self, known: ReadOnlyCredentials) -> Credentials:
        if known != self._known:
            self._known = known
            self._credentials = Credentials(
                known.access_key or "", known.secret_key or "", known.token
            )
        return self._credentials

    async def _frozen(self, deadline: float) -> ReadOnlyCredentials | None:
        provided = self._provided
        if provided is None or (
            isinstance(provided, AioRefreshableCredentials) and provided.refresh_needed()
        ):
            async with asyncio.timeout_at(deadline):
                self._provided = provided = await self._session.get_credentials()
                return await provided.get_frozen_credentials() if provided else None
        # There is nothing to wait for, and a deadline would cost more than all the rest.
        return await provided.get_frozen_credentials()


def _fit_a_header(known: ReadOnlyCredentials) -> bool:
    texts: tuple[object, ...] = (known.access_key, known.secret_key, known.token)
    return all(
        text is None or (isinstance(text, str) and text.isascii() and text.isprintable())
        for text in texts
    )


def _code_of(error: ClientError) -> object:
    return error.response.get("Error", {}).get("Code")


def _credentials_error(code: object) -> QueueError:
    error = error_of("credentials", code)
    if error.code == "AccessDenied":
        return QueueRefusedError("credentials", error.code, "allow sts:AssumeRole on the role")
    if isinstance(error, QueueRefusedError):
        return error
    return QueueError("credentials", error.code, _PROVIDER_ADVICE)


def _region(address: QueueAddress, session: AioSession) -> str:
    region = address.region or region_in(address.queue_url) or _configured(session, "region")
    if region is None and address.endpoint_url is None:
        raise SettingsError(
            "sqs.region is not set: set it, or AWS_DEFAULT_REGION, to the queue's region"
        )
    return region or _ANY_REGION


def _configured(session: AioSession, name: str) -> str | None:
    try:
        return cast("str | None", session.get_config_variable(name))
    except BotoCoreError as error:
        raise _wrong_configuration(error) from None


def _wrong_configuration(error: Exception) -> SettingsError:
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
