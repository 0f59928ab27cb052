"""`consumer run`."""

import sys
from dataclasses import asdict

import click

from consumer.commands.context import CommandContext
from consumer.runtime import relax_cycle_collector, run_async
from consumer.service import serve
from consumer.telemetry.logs import make_logger, stdlib_logs_to


@click.command()
@click.pass_obj
def run(context: CommandContext) -> None:
    """Consume the queue until SIGTERM or SIGINT; a second signal stops at once.

    At a stop, open polls finish. All messages in flight are committed and deleted, and the rest is
    released back to the queue.

    \b
    Examples:
      consumer run
      CONSUMER_LOGS__LEVEL=debug consumer run
    """
    settings = context.settings
    logger = make_logger(level=settings.logs.level, form=settings.logs.format, stream=sys.stderr)
    relax_cycle_collector()
    with stdlib_logs_to(logger):
        totals = run_async(serve(settings, logger, until_empty=False))
    logger.info("ended", **asdict(totals))
