"""`consumer send`."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO
from uuid import uuid4

import click

from consumer.commands.context import CommandContext
from consumer.commands.status import StatusLine
from consumer.runtime import run_async
from consumer.settings.endpoints import queue_address_of
from consumer.settings.sections import Settings
from consumer.sqs.client import open_transport
from consumer.sqs.sending import FifoOrder, batches, send_batch

_MAX_BODY_BYTES = 1024 * 1024
_BATCHES_AT_A_TIME = 8


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--group-id",
    default="consumer-send",
    show_default=True,
    help="The MessageGroupId, on a FIFO queue.",
)
@click.pass_obj
def send(context: CommandContext, file: BinaryIO, group_id: str) -> None:
    """Send each line of FILE as a message; `-` is standard input. Empty lines are skipped.

    Only the limits of SQS are checked, so malformed events can be sent too. If the response of a
    call is lost, its messages may be on the queue nevertheless.

    \b
    Examples:
      consumer send login-events.jsonl
      zcat events.jsonl.gz | consumer send -
    """
    settings = context.settings
    status = StatusLine(sys.stderr, time.monotonic)
    sent = 0

    def count(messages: int) -> None:
        nonlocal sent
        sent += messages
        status.show(f"{sent:,} messages sent")

    try:
        run_async(_send(settings, _bodies(file), group_id, count))
    except BaseException:
        status.clear()
        if sent:
            click.echo(f"{sent:,} messages sent before the failure", err=True)
        raise
    status.clear()
    click.echo(f"{sent:,} messages sent", err=True)


def _bodies(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        body = line.rstrip(b"\r\n")
        if len(body) > _MAX_BODY_BYTES:
            raise click.ClickException(f"line {number} is larger than SQS's limit of 1 MiB")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise click.ClickException(f"line {number} is not UTF-8") from None
        if text.strip():
            yield text


async def _send(
    settings: Settings, bodies: Iterator[str], group_id: str, count: Callable[[int], None]
) -> None:
    """Send all bodies, batches at the same time; on a FIFO queue one after the other.

    Lines are read only while no call is open: a slow pipe would use up a call's deadline.
    """
    address = queue_address_of(settings, 0)
    is_fifo = address.queue_url.endswith(".fifo")
    run_id = uuid4().hex
    work = enumerate(batches(bodies))
    async with open_transport(address) as transport:

        async def send_one(number: int, batch: list[str]) -> None:
            await send_batch(
                transport,
                address.queue_url,
                batch,
                timeout_seconds=settings.sqs.call_timeout_seconds,
                fifo=FifoOrder(group_id, f"{run_id}-{number}-") if is_fifo else None,
            )
            count(len(batch))

        while several := list(islice(work, 1 if is_fifo else _BATCHES_AT_A_TIME)):
            async with asyncio.TaskGroup() as tasks:
                for number, batch in several:
                    tasks.create_task(send_one(number, batch))
