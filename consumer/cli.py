"""The command line. A command's module is imported only when it is called: help comes at once."""

import errno
import logging
import resource
import signal
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from consumer import __version__
from consumer.errors import ConsumerError

_COMMANDS = {
    "run": ("consumer.commands.run:run", "Consume the queue until SIGTERM."),
    "drain": ("consumer.commands.drain:drain", "Consume the queue until it is empty, then end."),
    "demo": ("consumer.embedded.demo:demo", "Show it all at work, with nothing but Python."),
    "migrate": ("consumer.commands.migrate:migrate", "Create or upgrade what the database needs."),
    "check": ("consumer.commands.check:check", "Tell what is wrong before it matters."),
    "send": ("consumer.commands.send:send", "Send the lines of a file to the queue."),
    "export": ("consumer.commands.export:export", "Write the masked table as CSV."),
    "keys": ("consumer.officer.keys.command:keys", "Make, check and change the key ring."),
    "mask": ("consumer.officer.recovery.mask_command:mask", "Show the tokens to search for."),
    "recover": (
        "consumer.officer.recovery.command:recover",
        "Show what tokens stand for, on record.",
    ),
    "remask": (
        "consumer.officer.remask.command:remask",
        "Rewrite old keys' tokens under the new key.",
    ),
    "quarantine": (
        "consumer.officer.quarantine.command:quarantine",
        "See what was no valid event, and replay it.",
    ),
    "erase": (
        "consumer.officer.erasure.command:erase",
        "Delete a person's rows, and keep them deleted.",
    ),
    "audit": ("consumer.officer.audit.command:audit", "Check the record of who was shown what."),
}


class _Group(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{name} needs {error.name}: pip install 'login-consumer[embedded]'"
            ) from None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Call the command; of an error nothing is shown that could hold a value."""
        try:
            result: object = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        # BLE001: an unforeseen error's own text and traceback may quote a message.
        except Exception as error:  # noqa: BLE001
            _fail(list(_leaves(error)))
        return result


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _fail(errors: Sequence[BaseException]) -> NoReturn:
    """Raise what click shows as one clear line and exit code 1."""
    lines = []
    for error in errors:
        if isinstance(error, ConsumerError):
            lines.append(str(error))
        elif isinstance(error, click.ClickException):
            lines.append(error.format_message())
        elif isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise click.exceptions.Exit(1) from None  # whoever read our output has gone
        elif isinstance(error, OSError) and error.filename is not None:
            lines.append(f"{error.filename}: {error.strerror}")
        else:
            lines += _unforeseen(error)
    # Tasks that did the same at the same time failed alike.
    raise click.ClickException("\n".join(dict.fromkeys(lines))) from None


def _unforeseen(error: BaseException) -> list[str]:
    # Imported here, for it takes longer than the help may take.
    from consumer.telemetry.logs import describe  # noqa: PLC0415

    description = describe(error)
    frames = description["frames"]
    assert isinstance(frames, list)
    return [f"unforeseen {description['type']}, at", *(f"  {frame}" for frame in frames)]


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="consumer")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of settings. Default: config.toml, if it is there.",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Take login events off Amazon SQS, mask them, write each to PostgreSQL exactly once.

    Settings come from config.toml, from variables such as CONSUMER_SQS__QUEUE_URL over it, and
    from secret files such as /run/secrets/consumer_postgres__dsn over both.

    \b
    Examples:
      consumer demo
      consumer check && consumer run
      consumer --config staging.toml drain
    """  # noqa: D301 click takes the escape itself for "leave these lines as they are"
    ctx.obj = config


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; exit code 1 after an error, 2 after a wrong call.

    SIGTERM ends a command that does not take it itself with 143, as a shell counts it.
    """
    # A container's first process has no default action: without a handler it would be ignored.
    signal.signal(signal.SIGTERM, _terminate)
    # A core file would hold keys and raw values.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Without a handler Python prints warnings of libraries, and their texts may hold values.
    logging.getLogger().addHandler(logging.NullHandler())
    cli(prog_name="consumer")
