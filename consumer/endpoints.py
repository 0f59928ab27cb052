"""Where the settings say that the queue, the database and the key ring are.

Apart from what opens them, for most commands need one of the three and none needs what it takes to
run the service.
"""

from pathlib import Path

from consumer.keys.sources import Aws, Given, KeySource, KmsFile, RingFile, SecretsManager
from consumer.postgres.connection import ConnectionSettings
from consumer.settings import Settings, require_dsn, require_key_ring, require_queue_url
from consumer.sqs.address import QueueAddress, region_in


def server_of(settings: Settings) -> ConnectionSettings:
    """Where the database is; raises SettingsError if that is not set."""
    postgres = settings.postgres
    return ConnectionSettings(
        dsn=require_dsn(settings).get_secret_value(),
        connect_timeout_seconds=postgres.connect_timeout_seconds,
        statement_timeout_seconds=postgres.statement_timeout_seconds,
        max_connections=settings.flow.writers,
        max_connection_age_seconds=postgres.max_connection_age_seconds,
        statement_cache_size=postgres.statement_cache_size,
    )


def key_source_of(settings: Settings) -> KeySource:
    """Where the key ring is; raises SettingsError if that is not set."""
    masking = require_key_ring(settings)
    if masking.keyring is not None:
        return Given(masking.keyring.get_secret_value())
    if masking.keyring_file is not None:
        return RingFile(masking.keyring_file)
    region = settings.sqs.region or region_in(settings.sqs.queue_url or "")
    aws = Aws(region, masking.keyring_timeout_seconds)
    kind, _, name = (masking.keyring_source or "").partition(":")
    if kind == "kms":
        return KmsFile(Path(name), masking.kms_encryption_context or {}, aws)
    return SecretsManager(name, aws)


def queue_address_of(settings: Settings, wait_seconds: int) -> QueueAddress:
    """Where the queue is; raises SettingsError if that is not set."""
    sqs = settings.sqs
    return QueueAddress(
        queue_url=require_queue_url(settings),
        endpoint_url=sqs.endpoint_url,
        region=sqs.region,
        transport=sqs.transport,
        protocol=sqs.protocol,
        max_open_calls=sqs.max_pollers + sqs.max_concurrent_deletes + 10,
        longest_call_seconds=wait_seconds + sqs.call_timeout_seconds,
    )
