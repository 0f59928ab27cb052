"""The settings: config.toml, environment variables over it, secret files over those.

A setting `key` of the section `[section]` is the variable `CONSUMER_SECTION__KEY` and the file
`consumer_section__key` in the folder of secrets (`/run/secrets`, or `CONSUMER_SECRETS_DIR`).
An empty variable counts as unset, for compose files pass on what is not there as empty.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from consumer.errors import SettingsError

DEFAULT_PATH = Path("config.toml")
DEFAULT_SECRETS_DIR = Path("/run/secrets")
_PREFIX = "CONSUMER_"
_SECRETS_DIR_VARIABLE = f"{_PREFIX}SECRETS_DIR"
# Kubernetes gives every container variables of this form for a Service called `consumer…`.
_SERVICE_LINK = re.compile(
    r"CONSUMER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SERVICE_LINK_VALUES = ("tcp://", "udp://", "sctp://")

_MIB = 1024 * 1024
_MAX_MESSAGE_BYTES = _MIB


def _is_postgres_url(dsn: SecretStr) -> SecretStr:
    if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise PydanticCustomError("dsn", "must begin with postgresql://")
    return dsn


def _contradiction(rule: str, *keys: str) -> PydanticCustomError:
    """An error whose text may name settings and their limits, but no values: some are secret."""
    return PydanticCustomError("contradiction", rule, {"keys": keys})


HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
PostgresUrl = Annotated[SecretStr, AfterValidator(_is_postgres_url)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
KeyringSource = Annotated[str, StringConstraints(pattern=r"^(secretsmanager|kms):\S.*$")]
EncryptionContext = Annotated[dict[str, str], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class EventSettings(_Section):
    """Which event this consumer takes."""

    model: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")] = (
        "consumer.events.user_login:UserLogin"
    )


class SqsSettings(_Section):
    """The queue. Credentials come AWS's standard way: environment, profile or role."""

    queue_url: HttpUrl | None = None
    endpoint_url: HttpUrl | None = None
    region: str | None = None
    # With 0 it would ask some of SQS's servers alone, answer at once, and be called without end.
    wait_seconds: Annotated[int, Field(ge=1, le=20)] = 20
    max_pollers: Annotated[int, Field(ge=1, le=256)] = 16
    max_concurrent_deletes: Annotated[int, Field(ge=1, le=256)] = 16
    call_timeout_seconds: Seconds = 10
    transport: Literal["lean", "aiobotocore"] = "lean"
    protocol: Literal["auto", "json", "query"] = "auto"

    @model_validator(mode="after")
    def _the_transport_speaks_the_protocol(self) -> Self:
        if self.transport == "aiobotocore" and self.protocol == "query":
            raise _contradiction(
                'sqs.transport "aiobotocore" speaks JSON alone; the query protocol needs "lean"',
                "sqs.transport",
                "sqs.protocol",
            )
        return self


class FlowSettings(_Section):
    """How much is held at a time, and how much a statement carries."""

    # SQS hands a consumer at most 120,000 messages of a queue (Amazon SQS message quotas).
    max_in_flight_messages: Annotated[int, Field(ge=10, le=120_000)] = 4000
    max_in_flight_bytes: Annotated[int, Field(ge=_MAX_MESSAGE_BYTES)] = 32 * _MIB
    max_batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    max_batch_bytes: Annotated[int, Field(ge=_MAX_MESSAGE_BYTES)] = 8 * _MIB
    linger_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    writers: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _a_batch_fits_in_flight(self) -> Self:
        if self.max_batch_rows > self.max_in_flight_messages:
            raise _contradiction(
                "flow.max_batch_rows is larger than flow.max_in_flight_messages",
                "flow.max_batch_rows",
                "flow.max_in_flight_messages",
            )
        if self.max_batch_bytes > self.max_in_flight_bytes:
            raise _contradiction(
                "flow.max_batch_bytes is larger than flow.max_in_flight_bytes",
                "flow.max_batch_bytes",
                "flow.max_in_flight_bytes",
            )
        return self


class PostgresSettings(_Section):
    """The database."""

    dsn: PostgresUrl | None = None
    connect_timeout_seconds: Seconds = 5
    statement_timeout_seconds: Seconds = 10
    statement_cache_size: Annotated[int, Field(ge=0, le=10_000)] = 100
    max_connection_age_seconds: Seconds = 1800
    prune_interval_seconds: Seconds = 3600


class RetrySettings(_Section):
    """The pauses before what failed is tried again."""

    min_pause_ms: Annotated[int, Field(ge=10, le=60_000)] = 200
    max_pause_seconds: Annotated[int, Field(ge=1, le=900)] = 3

    @model_validator(mode="after")
    def _pauses_grow(self) -> Self:
        if self.min_pause_ms > self.max_pause_seconds * 1000:
            raise _contradiction(
                "retry.min_pause_ms is longer than retry.max_pause_seconds",
                "retry.min_pause_ms",
                "retry.max_pause_seconds",
            )
        return self


class MaskingSettings(_Section):
    """Where the key ring is: one of the first three."""

    keyring: SecretStr | None = None
    keyring_file: Annotated[Path | None, Field(strict=False)] = None
    keyring_source: KeyringSource | None = None
    kms_encryption_context: EncryptionContext | None = None
    keyring_timeout_seconds: Seconds = 10

    @model_validator(mode="after")
    def _one_key_ring(self) -> Self:
        places = {
            "masking.keyring": self.keyring,
            "masking.keyring_file": self.keyring_file,
            "masking.keyring_source": self.keyring_source,
        }
        given = [key for key, value in places.items() if value is not None]
        if len(given) > 1:
            raise _contradiction(f"{' and '.join(given)} are set; set one", *given)
        return self

    @model_validator(mode="after")
    def _a_context_has_a_use(self) -> Self:
        is_kms = (self.keyring_source or "").startswith("kms:")
        if self.kms_encryption_context is not None and not is_kms:
            raise _contradiction(
                "masking.kms_encryption_context goes with a masking.keyring_source of kms:PATH",
                "masking.kms_encryption_context",
                "masking.keyring_source",
            )
        return self


class ShutdownSettings(_Section):
    """How a stop goes."""

    drain_seconds: Seconds = 10
    grace_seconds: Seconds = 45


class HttpSettings(_Section):
    """The port for /metrics, /healthz and /readyz; port 0 is any free one."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    request_timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 5


class LogSettings(_Section):
    """What is logged, and how: `auto` is pretty on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "pretty"] = "auto"


class Settings(BaseSettings):
    """All settings. What only some commands need is optional here: see the `require_` functions."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
    )

    event: EventSettings = EventSettings()
    sqs: SqsSettings = SqsSettings()
    flow: FlowSettings = FlowSettings()
    postgres: PostgresSettings = PostgresSettings()
    retry: RetrySettings = RetrySettings()
    masking: MaskingSettings = MaskingSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HttpSettings = HttpSettings()
    logs: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _a_stop_ends_in_time(self) -> Self:
        if self.shutdown.grace_seconds <= self.sqs.wait_seconds + self.shutdown.drain_seconds:
            raise _contradiction(
                "shutdown.grace_seconds must be longer than sqs.wait_seconds and"
                " shutdown.drain_seconds together, for the last poll may take its whole wait"
                " before the drain begins",
                "shutdown.grace_seconds",
                "sqs.wait_seconds",
                "shutdown.drain_seconds",
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing on its own: `load_settings` merges, for it keeps where each value stood."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


_KEYS = frozenset(
    f"{section}.{key}"
    for section, info in Settings.model_fields.items()
    if isinstance(info.default, _Section)
    for key in type(info.default).model_fields
)


@dataclass(frozen=True, slots=True)
class _Given:
    """A setting's value, and the place to name when it is wrong."""

    where: str
    value: object = field(repr=False)


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; without a `path`, config.toml if it is there.

    Raises:
        SettingsError: the file cannot be read, or settings are unknown, of the wrong type, out of
            bounds or contradict each other; a line each says where, and never the value.
    """
    given = {**_from_file(path), **_from_environment(environ), **_from_secrets(environ)}
    problems = [f"{given[key].where}: unknown setting{_hint(key)}" for key in given.keys() - _KEYS]
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [_line(each, given) for each in details]
        settings = None
    if problems or settings is None:
        raise SettingsError("\n".join(sorted(problems)))
    return settings


def require_queue_url(settings: Settings) -> str:
    """Return the queue's URL, or raise SettingsError if it is not set."""
    return settings.sqs.queue_url or _not_set("sqs.queue_url")


def require_dsn(settings: Settings) -> SecretStr:
    """Return the database's DSN, or raise SettingsError if it is not set."""
    return settings.postgres.dsn or _not_set("postgres.dsn")


def require_key_ring(settings: Settings) -> MaskingSettings:
    """Return the section that says where the key ring is, or raise SettingsError if none does."""
    masking = settings.masking
    if not (masking.keyring or masking.keyring_file or masking.keyring_source):
        _not_set("masking.keyring_file")
    return masking


def _not_set(key: str) -> NoReturn:
    section, name = key.split(".")
    raise SettingsError(
        f"{key} is not set: set {name} under [{section}] in {DEFAULT_PATH},"
        f" or the variable {_variable(key)}"
    )


def _from_file(path: Path | None) -> dict[str, _Given]:
    try:
        sections = tomllib.loads((path or DEFAULT_PATH).read_text("utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise SettingsError(f"{path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"{path or DEFAULT_PATH}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path or DEFAULT_PATH}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path or DEFAULT_PATH}: not TOML: {error}") from None
    return {key: _Given(f"{path or DEFAULT_PATH}: {key}", value) for key, value in _flat(sections)}


def _flat(sections: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, content in sections.items():
        if isinstance(content, Mapping):
            yield from ((f"{section}.{key}", value) for key, value in content.items())
        else:
            yield section, content


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    return _from_variables(
        (name, name, value)
        for name, value in environ.items()
        if name != _SECRETS_DIR_VARIABLE
        and not _SERVICE_LINK.fullmatch(name)
        and not value.startswith(_SERVICE_LINK_VALUES)
    )


def _from_secrets(environ: Mapping[str, str]) -> dict[str, _Given]:
    folder = Path(environ.get(_SECRETS_DIR_VARIABLE) or DEFAULT_SECRETS_DIR)
    if not folder.is_dir():
        if environ.get(_SECRETS_DIR_VARIABLE):
            raise SettingsError(f"{_SECRETS_DIR_VARIABLE}: {folder} is not a folder")
        return {}
    # Other programs' secrets may lie there too, so only ours are opened.
    ours = (path for path in folder.iterdir() if path.name.upper().startswith(_PREFIX))
    return _from_variables((path.name, str(path), _read_secret(path)) for path in ours)


def _read_secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8 text") from None


def _from_variables(variables: Iterable[tuple[str, str, str]]) -> dict[str, _Given]:
    """Read triples of a variable's name, where it stands, and its value."""
    source = EnvSettingsSource(Settings)
    texts: dict[str, _Given] = {}
    for name, where, text in variables:
        if name.upper().startswith(_PREFIX) and text:
            key = name[len(_PREFIX) :].lower().replace("__", ".", 1)
            texts[key] = _Given(where, text)
    # The library turns the texts into the settings' types; what it cannot, validation refuses.
    source.env_vars = {
        _variable(key).lower(): str(text.value) for key, text in texts.items() if key in _KEYS
    }
    typed = dict(_flat(source()))
    return {key: _Given(text.where, typed.get(key)) for key, text in texts.items()}


def _nested(given: Mapping[str, _Given]) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {}
    for key in given.keys() & _KEYS:
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = given[key].value
    return sections


def _line(error: ErrorDetails, given: Mapping[str, _Given]) -> str:
    """Say where a wrong value stands, and what is wrong with it."""
    keys = error.get("ctx", {}).get("keys") or [".".join(map(str, error["loc"][:2]))]
    places = ", ".join(given[key].where for key in keys if key in given)
    return f"{places}: {error['msg']}"


def _hint(key: str) -> str:
    close = difflib.get_close_matches(key, _KEYS, n=1)
    return f"; did you mean {close[0]} ({_variable(close[0])})?" if close else ""


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "__").upper()
