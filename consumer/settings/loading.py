"""Where settings come from, and which one wins.

A secret file wins over an environment variable, and both win over config.toml. The setting `key`
of the section `[section]` is the variable `CONSUMER_SECTION__KEY` and the file
`consumer_section__key` in the folder of secrets (`/run/secrets`, or `CONSUMER_SECRETS_DIR`).
An empty variable counts as unset: Compose files pass an unset variable on as an empty one.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from consumer.errors import SettingsError
from consumer.settings.sections import ENV_NESTED_DELIMITER, ENV_PREFIX, Section, Settings

DEFAULT_PATH = Path("config.toml")
_DEFAULT_SECRETS_DIR = Path("/run/secrets")
_SECRETS_DIR_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
# Kubernetes gives every container variables of this form for a Service called `consumer…`.
_SERVICE_LINK = re.compile(
    r"CONSUMER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SERVICE_LINK_VALUES = ("tcp://", "udp://", "sctp://")
# Anything else may be a secret in the wrong place, such as a DSN where a key belongs.
_PRINTABLE_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

_KEYS = frozenset(
    f"{section}.{key}"
    for section, info in Settings.model_fields.items()
    if isinstance(info.default, Section)
    for key in type(info.default).model_fields
)


@dataclass(frozen=True, slots=True)
class _Text:
    """A setting as a variable or a secret file has it, and the place to name if it is wrong."""

    place: str
    value: str = field(repr=False)


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; without a `path`, config.toml if it exists.

    Raises:
        SettingsError: the file cannot be read, or settings are unknown, of the wrong type, out of
            bounds or contradict each other; a line each says where, and never the value.
    """
    in_file = _read_file(path)
    texts = {**_variables(environ), **_secret_files(environ)}
    problems = [
        f"{text.place}: unknown setting{_hint(key)}"
        for key, text in texts.items()
        if key not in _KEYS
    ]
    settings = None
    try:
        settings = Settings.model_validate(_merged(in_file, _typed(texts)))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        file = str(path or DEFAULT_PATH)
        problems += [_problem(details, in_file, file, texts) for details in wrong]
    if problems or settings is None:
        raise SettingsError("\n".join(sorted(problems)))
    return settings


def variable_of(key: str) -> str:
    """The environment variable of the setting `section.key`."""
    return ENV_PREFIX + key.replace(".", ENV_NESTED_DELIMITER).upper()


def _read_file(path: Path | None) -> dict[str, object]:
    try:
        return tomllib.loads((path or DEFAULT_PATH).read_text("utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        problem = "no such file"
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        problem = f"not TOML: {error}"
    raise SettingsError(f"{path or DEFAULT_PATH}: {problem}")


def _variables(environ: Mapping[str, str]) -> dict[str, _Text]:
    return {
        _key_of(name): _Text(name, value)
        for name, value in environ.items()
        if name.upper().startswith(ENV_PREFIX)
        and value
        and name != _SECRETS_DIR_VARIABLE
        and not _SERVICE_LINK.fullmatch(name)
        and not value.startswith(_SERVICE_LINK_VALUES)
    }


def _secret_files(environ: Mapping[str, str]) -> dict[str, _Text]:
    """Read our own files alone: pydantic-settings' source opens every file of the folder."""
    folder = Path(environ.get(_SECRETS_DIR_VARIABLE) or _DEFAULT_SECRETS_DIR)
    if not folder.is_dir():
        if environ.get(_SECRETS_DIR_VARIABLE):
            raise SettingsError(f"{_SECRETS_DIR_VARIABLE}: {folder} is not a folder")
        return {}
    ours = (path for path in folder.iterdir() if path.name.upper().startswith(ENV_PREFIX))
    texts = ((path, _read_secret(path)) for path in ours)
    return {_key_of(path.name): _Text(str(path), text) for path, text in texts if text}


def _read_secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    raise SettingsError(f"{path}: {problem}")


def _key_of(name: str) -> str:
    return name[len(ENV_PREFIX) :].lower().replace(ENV_NESTED_DELIMITER, ".", 1)


def _typed(texts: Mapping[str, _Text]) -> dict[str, object]:
    """The known settings by section; texts become the types of their fields where they can."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        variable_of(key).lower(): text.value for key, text in texts.items() if key in _KEYS
    }
    return source()


def _merged(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(under)
    for section, values in over.items():
        below = under.get(section, {})
        if isinstance(values, Mapping) and isinstance(below, Mapping):
            merged[section] = {**below, **values}
    return merged


def _problem(
    details: ErrorDetails, in_file: Mapping[str, object], file: str, texts: Mapping[str, _Text]
) -> str:
    """One line: where the wrong value stands, and what is wrong with it."""
    location = ".".join(_printable(str(part)) for part in details["loc"][:2])
    keys = details.get("ctx", {}).get("keys") or [location]
    is_unknown = details["type"] == "extra_forbidden"
    what = f"unknown setting{_hint(location)}" if is_unknown else details["msg"]
    return f"{', '.join(_places(keys, in_file, file, texts))}: {what}"


def _places(
    keys: list[str], in_file: Mapping[str, object], file: str, texts: Mapping[str, _Text]
) -> Iterator[str]:
    """Where each of the settings was set; of a contradiction some may stand at their defaults."""
    for key in keys:
        section, _, name = key.partition(".")
        content = in_file.get(section)
        if key in texts:
            yield texts[key].place
        elif len(keys) == 1 or (isinstance(content, Mapping) and name in content):
            yield f"{file}: {key}"


def _printable(key: str) -> str:
    return key if _PRINTABLE_KEY.fullmatch(key) else "(a key that no setting has)"


def _hint(key: str) -> str:
    close = difflib.get_close_matches(key, _KEYS, n=1)
    return f"; did you mean {close[0]} ({variable_of(close[0])})?" if close else ""
