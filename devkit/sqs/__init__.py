"""A small SQS server for tests, the demo and development; it keeps nothing on disk.

It speaks both of SQS's protocols over HTTP and answers as AWS documents it. It is a test double:
no signature is checked, nothing is kept, and everything is in one process.
"""

from devkit.sqs.errors import Code
from devkit.sqs.faults import (
    AnswerError,
    Delay,
    DeliverTwice,
    Disconnect,
    Fault,
    RefuseEntries,
    Request,
)
from devkit.sqs.queue import Limits, Queue
from devkit.sqs.server import SqsServer

__all__ = [
    "AnswerError",
    "Code",
    "Delay",
    "DeliverTwice",
    "Disconnect",
    "Fault",
    "Limits",
    "Queue",
    "RefuseEntries",
    "Request",
    "SqsServer",
]
