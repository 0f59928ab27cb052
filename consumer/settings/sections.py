"""What settings there are: a class for each section of config.toml, with defaults and bounds."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX = "CONSUMER_"
ENV_NESTED_DELIMITER = "__"

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


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class EventSettings(Section):
    """Which event this consumer takes."""

    model: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")] = (
        "consumer.events.user_login:UserLogin"
    )
    path: Annotated[Path, Field(strict=False)] = Path()


class SqsSettings(Section):
    """The queue. Credentials come AWS's standard way: environment, profile or role."""

    queue_url: HttpUrl | None = None
    endpoint_url: HttpUrl | None = None
    region: str | None = None
    # With 0 it would ask some of SQS's servers alone, answer at once, and be called without end.
    wait_seconds: Annotated[int, Field(ge=1, le=20)] = 20
    max_pollers: Annotated[int, Field(ge=1, le=256)] = 16
    max_concurrent_deletes: Annotated[int, Field(ge=1, le=256)] = 16
    max_concurrent_extends: Annotated[int, Field(ge=1, le=256)] = 4
    call_timeout_seconds: Seconds = 10
    poll_overdue_seconds: Seconds = 10
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


class FlowSettings(Section):
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


class PostgresSettings(Section):
    """The database."""

    dsn: PostgresUrl | None = None
    connect_timeout_seconds: Seconds = 5
    statement_timeout_seconds: Seconds = 10
    statement_cache_size: Annotated[int, Field(ge=0, le=10_000)] = 100
    max_connection_age_seconds: Seconds = 1800
    prune_interval_seconds: Seconds = 3600


class RetrySettings(Section):
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


class MaskingSettings(Section):
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


class DrainSettings(Section):
    """When `consumer drain` ends."""

    empty_receives: Annotated[int, Field(ge=1, le=100)] = 2
    wait_seconds: Annotated[int, Field(ge=1, le=20)] = 1


class ShutdownSettings(Section):
    """How a stop goes."""

    drain_seconds: Seconds = 10
    grace_seconds: Seconds = 45


class HttpSettings(Section):
    """The port for /metrics, /healthz and /readyz; port 0 is any free one."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    request_timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 5


class LogSettings(Section):
    """What is logged, and how: `auto` is pretty on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "pretty"] = "auto"
    repeat_seconds: Seconds = 10


class Settings(BaseSettings):
    """All settings. What only some commands need is optional here: see endpoints.py."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTED_DELIMITER,
    )

    event: EventSettings = EventSettings()
    sqs: SqsSettings = SqsSettings()
    flow: FlowSettings = FlowSettings()
    postgres: PostgresSettings = PostgresSettings()
    retry: RetrySettings = RetrySettings()
    masking: MaskingSettings = MaskingSettings()
    drain: DrainSettings = DrainSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HttpSettings = HttpSettings()
    logs: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _a_stop_ends_in_time(self) -> Self:
        if self.shutdown.grace_seconds <= self.sqs.wait_seconds + self.shutdown.drain_seconds:
            raise _contradiction(
                "shutdown.grace_seconds must be longer than sqs.wait_seconds and"
                " shutdown.drain_seconds together, because the last poll may take its whole wait"
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
        """Read nothing here: loading.py merges the sources and knows where each value stood."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
