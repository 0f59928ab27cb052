"""The command line. A command's module is imported when it is called, so help is quick."""

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
from consumer.telemetry.redaction import describe

_COMMANDS = {
    "run": ("consumer.commands.run:run", "Consume the queue until SIGTERM."),
    "drain": ("consumer.commands.drain:drain", "Consume the queue until it is empty, then end."),
    "migrate": ("consumer.commands.migrate:migrate", "Create or upgrade the database schema."),
    "check": ("consumer.commands.check:check", "Check settings, key ring, queue and database."),
    "send": ("consumer.commands.send:send", "Send the lines of a file to the queue."),
    "export": ("consumer.commands.export:export", "Write the masked table as CSV."),
    "keys": ("consumer.officer.keys.command:keys", "Make, check and change the key ring."),
    "mask": (
        "consumer.officer.recovery.search_command:mask",
        "Print the tokens of a value, to search for.",
    ),
    "recover": (
        "consumer.officer.recovery.command:recover",
        "Recover original values from tokens (audited).",
    ),
    "remask": (
        "consumer.officer.remask.command:remask",
        "Rewrite the tokens of old keys under the new key.",
    ),
    "quarantine": (
        "consumer.officer.quarantine.command:quarantine",
        "List, show and replay quarantined messages (audited).",
    ),
    "erase": (
        "consumer.officer.erasure.command:erase",
        "Delete a subject's rows and messages (audited).",
    ),
    "audit": ("consumer.officer.audit.command:audit", "Verify the audit."),
}


class _Group(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Call the command; show nothing of an error that could hold a value."""
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
            raise click.exceptions.Exit(1) from None  # the reader of our output has gone
        elif isinstance(error, OSError) and error.filename is not None:
            lines.append(f"{error.filename}: {error.strerror}")
        else:
            lines += _unforeseen(error)
    # Parallel tasks may fail with the same error.
    raise click.ClickException("\n".join(dict.fromkeys(lines))) from None


def _unforeseen(error: BaseException) -> list[str]:
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
      consumer check && consumer run
      consumer --config staging.toml drain
    """
    # Imported here: it takes longer than the help may take.
    from consumer.commands.context import CommandContext  # noqa: PLC0415

    ctx.obj = CommandContext(config)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; exit code 1 after an error, 2 after wrong arguments.

    SIGTERM ends a command without a handler of its own with exit code 143, as shells report it.
    """
    # The first process of a container has no default action: without a handler it ignores SIGTERM.
    signal.signal(signal.SIGTERM, _terminate)
    # A core file would hold keys and raw values.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Without a handler Python prints warnings of libraries, and their texts may hold values.
    logging.getLogger().addHandler(logging.NullHandler())
    cli(prog_name="consumer")
