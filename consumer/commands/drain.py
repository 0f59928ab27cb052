"""`consumer drain`."""

import json
import sys
import time
from dataclasses import asdict

import click

from consumer.commands.context import CommandContext
from consumer.commands.status import StatusLine, bar
from consumer.errors import QueueError
from consumer.runtime import relax_cycle_collector, run_async
from consumer.service import serve
from consumer.settings.endpoints import queue_address_of
from consumer.settings.sections import Settings
from consumer.sqs.client import open_transport
from consumer.sqs.queue import queue_attributes
from consumer.telemetry import events as telemetry
from consumer.telemetry.events import Listener
from consumer.telemetry.logs import make_logger, stdlib_logs_to
from consumer.telemetry.totals import Totals


@click.command()
@click.pass_obj
def drain(context: CommandContext) -> None:
    """Consume the queue until it is empty, then end.

    It is empty after drain.empty_receives polls in a row without a message.

    The last line of the output is a JSON object: the numbers of messages received, written,
    duplicate, quarantined, deleted, and damaged, and the seconds that it took. Damaged messages
    cannot be taken and stay in the queue.

    \b
    Examples:
      consumer drain
      consumer drain 2>drain.log | jq .written
    """
    status = StatusLine(sys.stderr, time.monotonic)
    started = time.monotonic()
    relax_cycle_collector()
    try:
        totals = run_async(_drain(context.settings, status))
    finally:
        status.clear()
    seconds = round(time.monotonic() - started, 3)
    click.echo(json.dumps(asdict(totals) | {"seconds": seconds}))


async def _drain(settings: Settings, status: StatusLine) -> Totals:
    listeners: list[Listener] = []
    if status.isatty():
        listeners.append(_progress(status, await _waiting(settings)))
    logger = make_logger(level=settings.logs.level, form=settings.logs.format, stream=status)
    with stdlib_logs_to(logger):
        return await serve(settings, logger, until_empty=True, listeners=listeners)


async def _waiting(settings: Settings) -> int:
    """How many messages wait on the queue; 0 if it does not answer: `serve` reports that."""
    seconds = settings.sqs.call_timeout_seconds
    address = queue_address_of(settings, 0)
    try:
        async with open_transport(address) as transport:
            attributes = await queue_attributes(
                transport, address.queue_url, timeout_seconds=seconds
            )
    except QueueError:
        return 0
    return attributes.visible


def _progress(status: StatusLine, total: int) -> Listener:
    deleted = 0

    def listen(event: telemetry.TelemetryEvent) -> None:
        nonlocal deleted
        if isinstance(event, telemetry.Deleted):
            deleted += event.count
            status.show(bar(deleted, total))

    return listen
