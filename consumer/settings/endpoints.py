"""What the settings say of the queue, the database and the key ring.

Each is required when it is asked for: most commands need one of the three.
"""

from pathlib import Path
from typing import NoReturn

from consumer.errors import SettingsError
from consumer.keys.sources import InlineKeys, KeyFile, KeySource, KmsKeyFile, SecretsManager
from consumer.postgres.connection import ConnectionSettings
from consumer.settings.loading import DEFAULT_PATH, variable_of
from consumer.settings.sections import Settings
from consumer.sqs.queue import QueueAddress, region_in


def connection_settings_of(settings: Settings) -> ConnectionSettings:
    """Where the database is; raises SettingsError if postgres.dsn is not set."""
    postgres = settings.postgres
    if postgres.dsn is None:
        _fail_unset("postgres.dsn")
    return ConnectionSettings(
        dsn=postgres.dsn.get_secret_value(),
        connect_timeout_seconds=postgres.connect_timeout_seconds,
        statement_timeout_seconds=postgres.statement_timeout_seconds,
        max_connections=settings.flow.writers,
        max_connection_age_seconds=postgres.max_connection_age_seconds,
        statement_cache_size=postgres.statement_cache_size,
    )


def key_source_of(settings: Settings) -> KeySource:
    """Where the key ring is; raises SettingsError if none of its three settings is set."""
    masking = settings.masking
    if masking.keyring is not None:
        return InlineKeys(masking.keyring.get_secret_value())
    if masking.keyring_file is not None:
        return KeyFile(masking.keyring_file)
    if masking.keyring_source is None:
        _fail_unset("masking.keyring_file")
    region = settings.sqs.region or region_in(settings.sqs.queue_url or "")
    timeout_seconds = masking.keyring_timeout_seconds
    kind, _, name = masking.keyring_source.partition(":")
    if kind == "kms":
        return KmsKeyFile(Path(name), masking.kms_encryption_context or {}, region, timeout_seconds)
    return SecretsManager(name, region, timeout_seconds)


def queue_address_of(settings: Settings, wait_seconds: int) -> QueueAddress:
    """Where the queue is; raises SettingsError if sqs.queue_url is not set."""
    sqs = settings.sqs
    if sqs.queue_url is None:
        _fail_unset("sqs.queue_url")
    return QueueAddress(
        queue_url=sqs.queue_url,
        endpoint_url=sqs.endpoint_url,
        region=sqs.region,
        transport=sqs.transport,
        protocol=sqs.protocol,
        max_open_calls=sqs.max_pollers + sqs.max_concurrent_deletes + sqs.max_concurrent_extends,
        longest_call_seconds=wait_seconds + sqs.call_timeout_seconds,
    )


def _fail_unset(key: str) -> NoReturn:
    section, name = key.split(".")
    raise SettingsError(
        f"{key} is not set: set {name} under [{section}] in {DEFAULT_PATH},"
        f" or the variable {variable_of(key)}"
    )
