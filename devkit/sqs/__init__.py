"""A small SQS server for tests, the demo and development; it keeps nothing on disk.

It speaks both of SQS's protocols over HTTP and answers as AWS documents it. It is a test double:
no signature is checked, everything is in one process, and messages stay until they are deleted.
"""

from devkit.sqs.errors import Code, SqsError
from devkit.sqs.faults import (
    AnswerError,
    Delay,
    DeliverTwice,
    Disconnect,
    InjectedFault,
    RefuseEntries,
)
from devkit.sqs.messages import StoredMessage
from devkit.sqs.queue import Queue
from devkit.sqs.requests import Draft, Request
from devkit.sqs.server import ProtocolName, SqsServer

__all__ = [
    "AnswerError",
    "Code",
    "Delay",
    "DeliverTwice",
    "Disconnect",
    "Draft",
    "InjectedFault",
    "ProtocolName",
    "Queue",
    "RefuseEntries",
    "Request",
    "SqsError",
    "SqsServer",
    "StoredMessage",
]
