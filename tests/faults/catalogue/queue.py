"""Faults of SQS and of the way to it: 11 to 16."""

import asyncio

from devkit.sqs import AnswerError, DeliverTwice, Disconnect
from devkit.sqs.errors import OVER_LIMIT, QUEUE_DOES_NOT_EXIST, Code
from tests.faults.catalogue.fault import Fault, dropped_packets
from tests.faults.harness.queue_server import BringBack, RefuseSome, Trouble
from tests.faults.harness.rig import QUEUE, Rig

_COMMON = "com.amazon.coral.service"
_DELETE = frozenset({"DeleteMessageBatch"})
_RECEIVE = frozenset({"ReceiveMessage"})

UNAVAILABLE = (
    Code("InternalFailure", "InternalFailure", 500, _COMMON),
    Code("ServiceUnavailable", "ServiceUnavailable", 503, _COMMON),
    Code("ThrottlingException", "Throttling", 400, _COMMON),
    OVER_LIMIT,
)
REFUSING = (
    Code("ExpiredTokenException", "ExpiredToken", 403, _COMMON),
    Code("AccessDeniedException", "AccessDenied", 403, _COMMON),
    QUEUE_DOES_NOT_EXIST,
    Code("KmsAccessDenied", "KMS.AccessDeniedException"),
    Code("KmsDisabled", "KMS.DisabledException"),
)
_ENTRY_CODES = (
    Code("InternalError", "InternalError", 500),
    Code("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
)


async def break_the_network(rig: Rig) -> None:
    network = rig.network_to_queue
    for name, begin in (
        ("SQS blackholed", network.go_silent),
        ("SQS slow, a byte a second", network.go_slow),
    ):
        with rig.fault(name, down=QUEUE):
            begin()
            await asyncio.sleep(rig.plan.hold_seconds)
            network.heal()
        await rig.at_full_rate()
    with rig.fault("SQS half-closed"):  # new connections work
        network.half_close()


async def answer_errors(rig: Rig) -> None:
    await _answer_each(rig, UNAVAILABLE)


async def refuse(rig: Rig) -> None:
    await _answer_each(rig, REFUSING)


async def _answer_each(rig: Rig, codes: tuple[Code, ...]) -> None:
    for code in codes:
        with rig.fault(code.shape, down=QUEUE):
            await rig.queue.trouble(Trouble(AnswerError(code)))
            await asyncio.sleep(rig.plan.hold_seconds)
            await rig.queue.trouble()
        await rig.at_full_rate()


async def refuse_some_deletes(rig: Rig) -> None:
    """Some entries fail, some calls are carried out and then look as if they had failed."""
    with rig.fault("some deletes fail"):
        await rig.queue.trouble(
            *(Trouble(RefuseSome(code, 0.5), 0.4, _DELETE) for code in _ENTRY_CODES),
            Trouble(Disconnect(after_acting=True), 0.1, _DELETE),
        )
        await asyncio.sleep(rig.plan.hold_seconds)
        await rig.queue.trouble()


async def deliver_twice(rig: Rig) -> None:
    with rig.fault("messages delivered twice"):
        await rig.queue.trouble(Trouble(DeliverTwice(), 0.4, _RECEIVE))
        await asyncio.sleep(rig.plan.hold_seconds)
        await rig.queue.trouble()


async def bring_back(rig: Rig) -> None:
    with rig.fault("messages back after their delete"):
        await rig.queue.trouble(Trouble(BringBack(1.0), 0.3, _DELETE))
        await asyncio.sleep(rig.plan.hold_seconds)
        await rig.queue.trouble()


FAULTS = (
    Fault(11, "SQS blackholed, slow, half-closed", break_the_network, dropped_packets),
    Fault(12, "SQS answers 500, 503, throttles, OverLimit", answer_errors),
    Fault(13, "SQS refuses: token, rights, queue, KMS", refuse),
    Fault(14, "deletes fail in part", refuse_some_deletes),
    Fault(15, "duplicate deliveries", deliver_twice),
    Fault(16, "messages back after their delete", bring_back),
)
