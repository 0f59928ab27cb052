"""Makes the reference pages out of the code that they describe: `make reference`.

python docs/generate.py           # writes the pages
python docs/generate.py --check   # names those that are out of date, and exits with 1
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydantic import BaseModel

from consumer.cli import cli
from consumer.settings.sections import Settings
from consumer.telemetry import events as telemetry
from consumer.telemetry.metrics import Metrics

_ROOT = Path(__file__).parents[1]
_REFERENCE = _ROOT / "docs" / "reference"
_HELP_COLUMNS = 90
_INTERNAL_LABELS = {"le"}
_SUFFIXES = {"counter": "_total", "info": "_info"}

_SETTINGS_INTRODUCTION = """\
# Settings

<!-- Made by `make reference` from consumer/settings/sections.py and config.toml. -->

A setting stands in `config.toml`, in a variable, or in a secret file. A variable overrides the
file, a secret file overrides both. The secret file of `postgres.dsn` is
`/run/secrets/consumer_postgres__dsn`; `CONSUMER_SECRETS_DIR` names another folder.

An unknown key, a wrong type or a contradiction ends the start with file, key and reason."""

_COMMANDS_INTRODUCTION = """\
# Commands

<!-- Made by `make reference` from the commands' own help. -->

Exit codes: 0 if all went well, 1 after an error, 2 after a wrong call."""

_METRICS_INTRODUCTION = """\
# Metrics

<!-- Made by `make reference` from consumer/telemetry/metrics.py. -->

`/metrics` serves them in the formats of Prometheus and OpenMetrics, with the usual `process_`
metrics beside them. Over any time received = written + duplicate + quarantined + the growth of in
flight.

The labels `code` and `sqlstate` have 50 values at most. The rest is counted as `other`."""
# A metric shows its labels only once it has counted something.
_COUNTED = (
    telemetry.QueueFailed("ReceiveMessage", "code", refused=False, pause_seconds=1),
    telemetry.WriteFailed(1, "sqlstate", refused=False, pause_seconds=1),
    telemetry.KeyRingReadFailed("GetSecretValue", "code", pause_seconds=1),
    telemetry.KeyRingLoaded("k1", keys=1, reloaded=True),
)


def main() -> int:
    """Write the pages, or with `--check` compare them; return the exit code."""
    out_of_date = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv[1:]:
        for path in out_of_date:
            print(f"{path.relative_to(_ROOT)} is out of date: run `make reference`")
        return 1 if out_of_date else 0
    for path in out_of_date:
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(_ROOT)}")
    return 0


def pages() -> Mapping[Path, str]:
    """The text of each page, by its path."""
    made = {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "metrics.md": metrics_page(),
    }
    return {_REFERENCE / name: text for name, text in made.items()}


def settings_page() -> str:
    """Each setting with its default, bounds, variable, and its comment in config.toml."""
    comments = _comments_of((_ROOT / "config.toml").read_text())
    parts = [_SETTINGS_INTRODUCTION]
    schema = Settings.model_json_schema()
    for section, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        assert issubclass(info.annotation, BaseModel)
        parts.append(f"## [{section}]")
        properties = schema["$defs"][info.annotation.__name__]["properties"]
        for key, property_ in properties.items():
            name = f"{section}.{key}"
            parts += [f"### `{name}`", comments[name], _facts(name, property_)]
    return "\n\n".join(parts) + "\n"


def _comments_of(toml: str) -> Mapping[str, str]:
    """The comment above each setting, by `section.key`; a setting without default is commented."""
    comments: dict[str, str] = {}
    section, above = "", list[str]()
    for line in toml.splitlines():
        key, equals, _ = line.removeprefix("# ").partition(" = ")
        if line.startswith("["):
            section, above = line.strip("[]"), []
        elif equals and key.isidentifier():
            comments[f"{section}.{key}"] = "\n".join(above)
            above = []
        elif line.startswith("# "):
            above.append(line.removeprefix("# "))
        else:
            above = []
    return comments


def _facts(name: str, property_: Mapping[str, object]) -> str:
    default = property_.get("default")
    facts = [f"Default: `{json.dumps(default)}`." if default is not None else "No default."]
    if allowed := _allowed(property_):
        facts.append(f"Allowed: {allowed}.")
    facts.append(f"Variable: `CONSUMER_{name.replace('.', '__').upper()}`.")
    return " ".join(facts)


def _allowed(property_: Mapping[str, object]) -> str:
    match property_:
        case {"enum": list(values)}:
            return ", ".join(f"`{json.dumps(value)}`" for value in values)
        case {"minimum": int(least), "maximum": int(most)}:
            return f"{least:,} to {most:,}"
        case {"minimum": int(least)}:
            return f"{least:,} or more"
        case _:
            return ""


def commands_page() -> str:
    """What `--help` prints, for each command and each subcommand."""
    parts = _help_of(cli, click.Context(cli, info_name="consumer", **cli.context_settings))
    return "\n\n".join([_COMMANDS_INTRODUCTION, *parts]) + "\n"


def _help_of(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = context.max_content_width = _HELP_COLUMNS
    yield f"## {context.command_path}"
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    yield "```text\n" + "\n".join(lines) + "\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            yield from _help_of(each, click.Context(each, parent=context, info_name=name))


def metrics_page() -> str:
    """Each metric with its type and labels."""
    metrics = Metrics(in_flight=lambda: 0, now=lambda: 0.0)
    for event in _COUNTED:
        metrics.listen(event)
    text, _ = metrics.render("application/openmetrics-text; version=1.0.0")
    rows = []
    # The library's parser has no types.
    families = text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]
    for family in families:
        if not family.name.startswith("consumer_"):
            continue
        if not family.samples:
            raise ValueError(f"{family.name} has counted nothing: add an event to _COUNTED")
        labels = sorted({name for each in family.samples for name in each.labels})
        shown = ", ".join(f"`{name}`" for name in labels if name not in _INTERNAL_LABELS)
        name = family.name + _SUFFIXES.get(family.type, "")
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    table = "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])
    return f"{_METRICS_INTRODUCTION}\n\n{table}\n"


if __name__ == "__main__":
    sys.exit(main())
