"""`consumer run`, with the time from each message's sending to its commit noted.

`python -m benchmarks.observed FILE` writes the times to FILE at its end, as a JSON array of
milliseconds.
"""

import json
import sys
import time
from pathlib import Path

from consumer.runtime import run_async
from consumer.service import serve
from consumer.settings.loading import load_settings
from consumer.telemetry import events as telemetry
from consumer.telemetry.logs import make_logger, stdlib_logs_to


def main(path: Path) -> None:
    """Consume until SIGTERM."""
    ages_ms: list[int] = []

    def listen(event: telemetry.TelemetryEvent) -> None:
        if isinstance(event, telemetry.Committed):
            now_ms = round(time.time() * 1000)
            ages_ms.extend(now_ms - sent_ms for sent_ms in event.sent_ms)

    settings = load_settings()
    logger = make_logger(level=settings.logs.level, form=settings.logs.format, stream=sys.stderr)
    with stdlib_logs_to(logger):
        run_async(serve(settings, logger, until_empty=False, listeners=[listen]))
    path.write_text(json.dumps(ages_ms))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
