"""A call on its way to its action, and the batch form of an action."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from devkit.sqs.account import ACCOUNT_ID, Account
from devkit.sqs.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    EMPTY_BATCH_REQUEST,
    INVALID_BATCH_ENTRY_ID,
    TOO_MANY_ENTRIES,
    Code,
    SqsError,
)
from devkit.sqs.parameters import (
    Json,
    Parameters,
    inner_list_of,
    optional_text_of,
    text_of,
)
from devkit.sqs.queue import Queue

_MAX_ENTRIES = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Call(NamedTuple):
    """A call of an operation.

    `base_url` is the server's URL as this client reached it; `refused_entries` are the entries of
    a batch that a placed fault makes fail, with their error.
    """

    account: Account
    parameters: Parameters
    base_url: str
    refused_entries: Mapping[str, Code]

    def queue(self) -> Queue:
        """Return the queue that QueueUrl names by its path, whatever host it names.

        Raises:
            SqsError: QueueUrl is missing, or there is no such queue.
        """
        return self.account.queue(queue_name(text_of(self.parameters, "QueueUrl")))

    def url_of(self, queue: Queue) -> str:
        """Return a queue's URL for this client."""
        return queue_url(self.base_url, queue.name)


def queue_url(base_url: str, name: str) -> str:
    """Return a queue's URL."""
    return f"{base_url}/{ACCOUNT_ID}/{name}"


def queue_name(url: str) -> str:
    """Return the name of the queue that a URL or a path names."""
    return url.partition("?")[0].rpartition("/")[2]


def each_entry(call: Call, act: Callable[[Parameters], Mapping[str, Json]]) -> Json:
    """Run `act` on each entry of a batch; an entry's error is told in `Failed`.

    Raises:
        SqsError: the entries' number or their ids are not allowed; nothing was done.
    """
    successful: list[Json] = []
    failed: list[Json] = []
    for entry_id, entry in _entries(call.parameters).items():
        try:
            if code := call.refused_entries.get(entry_id):
                raise SqsError(code, "A fault was placed here.")  # noqa: TRY301 - as if from act
            successful.append({"Id": entry_id, **act(entry)})
        except SqsError as error:
            failed.append(
                {
                    "Id": entry_id,
                    "SenderFault": error.code.is_senders,
                    "Code": error.code.query,
                    "Message": error.message,
                }
            )
    return {"Successful": successful, "Failed": failed} if failed else {"Successful": successful}


def _entries(parameters: Parameters) -> dict[str, Parameters]:
    given = inner_list_of(parameters, "Entries")
    if not given:
        raise SqsError(EMPTY_BATCH_REQUEST, "There should be at least one entry in the request.")
    if len(given) > _MAX_ENTRIES:
        raise SqsError(
            TOO_MANY_ENTRIES,
            f"Maximum number of entries per request are 10. You have sent {len(given)}.",
        )
    entries: dict[str, Parameters] = {}
    for entry in given:
        entry_id = optional_text_of(entry, "Id") or ""
        if not _ENTRY_ID.fullmatch(entry_id):
            raise SqsError(
                INVALID_BATCH_ENTRY_ID,
                "A batch entry id can only contain alphanumeric characters, hyphens and "
                "underscores. It can be at most 80 letters long.",
            )
        if entry_id in entries:
            raise SqsError(BATCH_ENTRY_IDS_NOT_DISTINCT, f"Id {entry_id} repeated.")
        entries[entry_id] = entry
    return entries
