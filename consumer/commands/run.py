"""`consumer run`."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from consumer.runtime import run_async, spare_the_cycle_collector
from consumer.service import serve
from consumer.settings import load_settings
from consumer.telemetry.logs import make_logger, stdlib_logs_to


@click.command()
@click.pass_obj
def run(config: Path | None) -> None:
    """Consume the queue until SIGTERM or SIGINT; a second one ends it at once.

    At the end nothing stays in flight: what is held is written and deleted, or shown to other
    consumers again.

    \b
    Examples:
      consumer run
      CONSUMER_LOGS__LEVEL=debug consumer run
    """  # noqa: D301 click takes the escape itself for "leave these lines as they are"
    settings = load_settings(config)
    logger = make_logger(level=settings.logs.level, form=settings.logs.format, stream=sys.stderr)
    spare_the_cycle_collector()
    with stdlib_logs_to(logger):
        totals = run_async(serve(settings, logger, until_empty=False))
    logger.info("ended", **asdict(totals))
