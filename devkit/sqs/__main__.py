"""`python -m devkit.sqs`: the server by itself, until SIGTERM or SIGINT."""

import asyncio
import signal

import click

from consumer.runtime import run_async
from devkit.sqs.errors import SqsError
from devkit.sqs.server import SqsServer


@click.command(
    help="Run a small SQS server for development and tests. It is a test double: it checks no "
    "signature and keeps nothing on disk.",
    epilog="Example: python -m devkit.sqs --port 9324 --queue login-events",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=9324, show_default=True, help="The port; 0 for a free one.")
@click.option("--queue", "names", multiple=True, metavar="NAME", help="A queue to create.")
def main(host: str, port: int, names: tuple[str, ...]) -> None:
    """Serve until SIGINT or SIGTERM."""
    try:
        run_async(_serve(host, port, names))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None
    except SqsError as error:
        raise click.ClickException(error.message) from None


async def _serve(host: str, port: int, names: tuple[str, ...]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with SqsServer(host, port) as server:
        for name in names:
            attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
            click.echo(server.create_queue(name, attributes))
        click.echo(f"SQS at {server.endpoint_url}; a test double, nothing is kept on disk")
        await stop.wait()


if __name__ == "__main__":
    main()
