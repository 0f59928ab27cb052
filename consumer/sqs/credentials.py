"""Credentials as aiobotocore provides them: found where AWS's own tools look, and refreshed."""

import asyncio

from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from consumer.errors import QueueRefusedError
from consumer.sqs.answers import error_of
from consumer.sqs.signing import Credentials


class SessionCredentials:
    """The credentials of the moment: what the session's provider gave is asked each time."""

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self._provided: AioCredentials | AioRefreshableCredentials | None = None
        self._known: ReadOnlyCredentials | None = None
        self._credentials = Credentials("", "")

    async def __call__(self, deadline: float) -> Credentials:
        """Ask the provider; the same object as long as it has the same.

        Raises:
            QueueRefusedError: there are none, or they were refused.
            QueueError: they could not be refreshed.
            TimeoutError: they had not come by `deadline`, by the event loop's clock.
        """
        try:
            known = await self._frozen(deadline)
        except ClientError as error:  # a role that may not be assumed
            failure = error_of(
                "credentials", error.response.get("Error", {}).get("Code", "Unknown")
            )
        except (BotoCoreError, RuntimeError) as error:  # RuntimeError: refreshed, expired already
            failure = error_of("credentials", type(error).__name__)
        else:
            if known is None or not known.access_key or not known.secret_key:
                failure = error_of("credentials", "NoCredentials")
            elif known != self._known and not _fit_a_header(known):
                advice = "one holds a character that no header takes, as the end of a line"
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
        # Nothing to wait for: a deadline would cost more than all the rest.
        return await provided.get_frozen_credentials()


def _fit_a_header(known: ReadOnlyCredentials) -> bool:
    texts = (known.access_key, known.secret_key, known.token)
    return all(not text or (text.isascii() and text.isprintable()) for text in texts)
