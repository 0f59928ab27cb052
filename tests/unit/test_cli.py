"""The command line's surface: help, version, settings; nothing is contacted."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from consumer import __version__
from consumer.cli import cli
from consumer.commands.send import _bodies

COMMANDS = cli.list_commands(click.Context(cli))
HEAVY = {
    "aiobotocore",
    "aiohttp",
    "asyncpg",
    "botocore",
    "cryptography",
    "prometheus_client",
    "pydantic",
    "rich",
    "structlog",
    "uvloop",
}


def test_help_imports_nothing_that_takes_time() -> None:
    script = (
        "import sys, atexit; sys.argv = ['consumer', '--help'];"
        "atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr));"
        "from consumer.cli import main; main()"
    )
    # S603: our own interpreter.
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    assert set(shown.stderr.decode().split()) & HEAVY == set()
    for command in COMMANDS:
        assert f"  {command} " in shown.stdout.decode()


def test_what_needs_no_queue_does_not_import_what_calls_it() -> None:
    commands = [
        "commands.export",
        "commands.migrate",
        "officer.audit.command",
        "officer.erasure.command",
        "officer.keys.command",
        "officer.quarantine.command",
        "officer.recovery.command",
        "officer.recovery.search_command",
        "officer.remask.command",
    ]
    imports = ", ".join(f"consumer.{command}" for command in commands)
    script = f"import sys, {imports}; print(*sys.modules)"
    # S603: our own interpreter.
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    slow = {"aiobotocore", "aiohttp", "botocore", "prometheus_client"}
    assert set(shown.stdout.decode().split()) & slow == set()


def test_no_core_file_is_ever_written_for_it_would_hold_keys_and_values() -> None:
    script = (
        "import atexit, resource, sys; sys.argv = ['consumer', '--version'];"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1];"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard));"
        "atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_CORE)));"
        "from consumer.cli import main; main()"
    )
    # S603: our own interpreter.
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    assert shown.stdout.decode().endswith("(0, 0)\n")


def leaves(command: click.Command, path: str = "") -> Iterator[str]:
    """The names of all commands, those inside of others too."""
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


@pytest.mark.parametrize("command", list(leaves(cli)))
def test_each_command_has_help_with_examples(command: str) -> None:
    short, long = (CliRunner().invoke(cli, [*command.split(), flag]) for flag in ("-h", "--help"))
    assert short.exit_code == 0
    assert re.search(rf"^ {{4}}(\S.* )?consumer.*{command}", short.output, re.MULTILINE)
    assert long.output == short.output


def test_the_commands_are_those_that_are_promised() -> None:
    promised = {"run", "drain", "migrate", "check", "send", "export", "recover"}
    assert promised <= set(COMMANDS)


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"consumer, version {__version__}\n"


def test_sigterm_ends_a_command_that_does_not_take_it() -> None:
    script = (
        "import os, signal; from consumer import cli;"
        "cli.cli = lambda **_: os.kill(os.getpid(), signal.SIGTERM); cli.main()"
    )
    # S603: our own interpreter.
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 143  # noqa: S603


def test_unknown_settings_are_refused_with_file_key_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("staging.toml").write_text("[flow]\nmax_batch_row = 7\n")
    refused = CliRunner().invoke(cli, ["--config", "staging.toml", "drain"])
    assert refused.exit_code == 1
    assert refused.output == (
        "Error: staging.toml: flow.max_batch_row: unknown setting;"
        " did you mean flow.max_batch_rows (CONSUMER_FLOW__MAX_BATCH_ROWS)?\n"
    )


def test_a_command_that_is_not_there_is_a_wrong_call() -> None:
    assert CliRunner().invoke(cli, ["destroy"]).exit_code == 2


def test_an_unforeseen_error_shows_where_it_was_and_not_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(_: object) -> None:
        raise ValueError("199.172.111.135")

    monkeypatch.setattr("consumer.commands.context.load_settings", explode)
    shown = CliRunner().invoke(cli, ["check"])
    assert shown.exit_code == 1
    assert shown.output.startswith("Error: unforeseen builtins.ValueError, at")
    assert "199.172" not in shown.output


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_largest_line_that_sqs_takes_is_sent_and_one_byte_more_is_named(ending: bytes) -> None:
    largest = b"x" * 1024 * 1024
    assert list(_bodies([largest + ending])) == [largest.decode()]
    with pytest.raises(click.ClickException, match="line 2 is larger than SQS's limit of 1 MiB"):
        list(_bodies([b"{}\n", largest + b"x" + ending]))


def test_a_line_that_is_not_utf_8_is_named() -> None:
    with pytest.raises(click.ClickException, match="line 2 is not UTF-8"):
        list(_bodies([b"{}\n", b"\xff\n"]))
