"""Makes the reference pages, and the table of sizes, out of the code: `make reference`.

With `--check` it writes nothing, names the pages that are out of date, and exits with 1.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from logging import getLevelName
from operator import itemgetter
from pathlib import Path
from typing import get_origin

import click
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydantic import BaseModel

from consumer.cli import cli
from consumer.settings.sections import Settings
from consumer.telemetry import events
from consumer.telemetry.events import TelemetryEvent
from consumer.telemetry.metrics import Metrics

_ROOT = Path(__file__).parents[1]
_REFERENCE = _ROOT / "docs" / "reference"
_CONTRIBUTING = _ROOT / "CONTRIBUTING.md"
_SIZES_BEGIN = "<!-- Sizes, made by `make reference`. -->"
_SIZES_END = "<!-- The end of the sizes. -->"
_HELP_COLUMNS = 90
_INTERNAL_LABELS = {"le"}
_SUFFIXES = {"counter": "_total", "info": "_info"}

_SETTINGS = """\
# Settings

<!-- Made by `make reference` from consumer/settings/sections.py and config.toml. -->

A setting stands in `config.toml`, in a variable, or in a secret file. A variable overrides the
file, a secret file overrides both. The secret file of `postgres.dsn` is
`/run/secrets/consumer_postgres__dsn`; `CONSUMER_SECRETS_DIR` names another folder.

An unknown key, a wrong type or a contradiction ends the start with file, key and reason."""

_COMMANDS = """\
# Commands

<!-- Made by `make reference` from the commands' own help. -->

Exit codes: 0 if all went well, 1 after an error, 2 after a wrong call."""

_METRICS = """\
# Metrics

<!-- Made by `make reference` from consumer/telemetry/metrics.py. -->

`/metrics` serves them in the formats of Prometheus and OpenMetrics, with the usual `process_`
metrics beside them. Over any time received = written + duplicate + quarantined + the growth of in
flight.

A label whose values come from outside, `code` or `sqlstate`, has 50 series at most. The rest is
counted as `other`."""

_LOG_EVENTS = """\
# Log events

<!-- Made by `make reference` from consumer/telemetry/events.py. -->

The log goes to standard error, a line for each event: as JSON, or readable on a terminal. No line
holds a value of a message. Of failures that look alike, one is logged in `logs.repeat_seconds`;
`left_out` counts the others.

Two kinds of lines are no telemetry events: `ended`, with the totals of `consumer run`, and warnings
of libraries, which name their `logger`."""


def main() -> int:
    """Write the pages, or with `--check` compare them; return the exit code."""
    made = pages()
    out_of_date = [
        path for path, text in made.items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv[1:]:
        for path in out_of_date:
            print(f"{path.relative_to(_ROOT)} is out of date: run `make reference`")
        return 1 if out_of_date else 0
    for path in out_of_date:
        path.write_text(made[path])
        print(f"wrote {path.relative_to(_ROOT)}")
    return 0


def pages() -> Mapping[Path, str]:
    """The text of each page, by its path."""
    return {
        _REFERENCE / "settings.md": settings_page(),
        _REFERENCE / "commands.md": commands_page(),
        _REFERENCE / "metrics.md": metrics_page(),
        _REFERENCE / "log-events.md": log_events_page(),
        _CONTRIBUTING: contributing_page(),
    }


def settings_page() -> str:
    """Each setting with its default, bounds, variable, and its comment in config.toml."""
    comments = _comments_of((_ROOT / "config.toml").read_text())
    schema = Settings.model_json_schema()
    parts = [_SETTINGS]
    for section, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        assert issubclass(info.annotation, BaseModel)
        parts.append(f"## [{section}]")
        properties = schema["$defs"][info.annotation.__name__]["properties"]
        for key, property_ in properties.items():
            name = f"{section}.{key}"
            parts += [f"### `{name}`", comments[name], _bounds_of(name, property_)]
    return _joined(parts)


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


def _bounds_of(name: str, property_: Mapping[str, object]) -> str:
    default = property_.get("default")
    parts = [f"Default: `{json.dumps(default)}`." if default is not None else "No default."]
    match property_:
        case {"enum": list(values)}:
            allowed = ", ".join(f"`{json.dumps(value)}`" for value in values)
            parts.append(f"Allowed: {allowed}.")
        case {"minimum": int(least), "maximum": int(most)}:
            parts.append(f"Allowed: {least:,} to {most:,}.")
        case {"minimum": int(least)}:
            parts.append(f"Allowed: {least:,} or more.")
    parts.append(f"Variable: `CONSUMER_{name.replace('.', '__').upper()}`.")
    return " ".join(parts)


def commands_page() -> str:
    """What `--help` prints, for each command and each subcommand."""
    context = click.Context(cli, info_name="consumer", **cli.context_settings)
    return _joined([_COMMANDS, *_help_of(cli, context)])


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
    """Each metric with its type and labels, which show once it has counted something."""
    metrics = Metrics(in_flight=lambda: 0, now=lambda: 0.0)
    for event_type in _event_types():
        for event in _examples(event_type):
            metrics.listen(event)
    text, _ = metrics.render("application/openmetrics-text; version=1.0.0")
    # The library's parser has no types.
    families = text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]
    rows = []
    for family in families:
        if not family.name.startswith("consumer_"):
            continue
        if not family.samples:
            raise ValueError(f"{family.name} counts no telemetry event: its labels are unknown")
        labels = sorted({name for each in family.samples for name in each.labels})
        shown = _listed(name for name in labels if name not in _INTERNAL_LABELS)
        name = family.name + _SUFFIXES.get(family.type, "")
        rows.append((f"`{name}`", family.type, shown, family.documentation))
    return _joined([_METRICS, _table(("metric", "type", "labels", "meaning"), rows)])


def log_events_page() -> str:
    """Each telemetry event with its message, level and fields."""
    rows = []
    for event_type in _event_types():
        examples = _examples(event_type)
        levels = dict.fromkeys(getLevelName(each.level).lower() for each in examples)
        messages = _listed(each.message for each in examples)
        shown = _listed(each.name for each in fields(event_type) if each.repr)
        meaning = " ".join((event_type.__doc__ or "").split())
        rows.append((messages, " or ".join(levels), shown, meaning))
    return _joined([_LOG_EVENTS, _table(("message", "level", "fields", "meaning"), rows)])


def contributing_page() -> str:
    """CONTRIBUTING.md with the lines of each part as they are."""
    before, _, rest = _CONTRIBUTING.read_text().partition(_SIZES_BEGIN)
    after = rest.partition(_SIZES_END)[2]
    table = _table(("part", "lines, about"), _sizes())
    return f"{before}{_SIZES_BEGIN}\n\n{table}\n\n{_SIZES_END}{after}"


def _sizes() -> Iterator[tuple[str, str]]:
    product = {path: _line_count(path) for path in _ROOT.glob("consumer/**/*.py")}
    officer = sum(count for path, count in product.items() if "officer" in path.parts)
    main_path = sum(count for path, count in product.items() if "pipeline" in path.parts)
    devkit = sum(map(_line_count, _ROOT.glob("devkit/**/*.py")))
    largest, lines = max(product.items(), key=itemgetter(1, 0))
    yield "product without officer", _rounded_up(sum(product.values()) - officer)
    yield "officer", _rounded_up(officer)
    yield "devkit", _rounded_up(devkit)
    yield "main path, `consumer/pipeline/`", _rounded_up(main_path)
    yield f"largest file, `{largest.relative_to(_ROOT)}`", _rounded_up(lines, to=10)


def _line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def _rounded_up(lines: int, to: int = 100) -> str:
    """Rounded, so that not every change of code changes the table."""
    return f"{-(-lines // to) * to:,}"


def _event_types() -> Iterator[type[TelemetryEvent]]:
    for each in vars(events).values():
        if isinstance(each, type) and issubclass(each, TelemetryEvent) and each != TelemetryEvent:
            yield each


def _examples(event_type: type[TelemetryEvent]) -> Sequence[TelemetryEvent]:
    """The event twice: with all of its flags down, and up. They decide message, level and count."""
    return [
        event_type(**{each.name: _example(each.type, flag=flag) for each in fields(event_type)})
        for flag in (False, True)
    ]


def _example(annotation: object, *, flag: bool) -> object:
    """A value of the type that a field has."""
    if annotation is bool:
        return flag
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    constructor = get_origin(annotation) or annotation
    assert isinstance(constructor, type)
    value: object = constructor()
    return value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(f"`{name}`" for name in names))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
