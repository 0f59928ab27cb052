"""What a command works with: settings, model, key ring, database; each loaded when it is needed."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import asyncpg

from consumer.events.loading import load_model
from consumer.events.model import EventModel, table_of
from consumer.events.table import Table
from consumer.keys.sources import KeySource, load_key_ring
from consumer.masking.key_ring import KeyRing
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.settings.endpoints import connection_settings_of, key_source_of
from consumer.settings.loading import load_settings
from consumer.settings.sections import Settings


@dataclass(frozen=True)
class CommandContext:
    """Click's object. `config` is the path of --config; None stands for config.toml.

    Everything here raises SettingsError for what is not set or wrong.
    """

    config: Path | None = None

    @cached_property
    def settings(self) -> Settings:
        return load_settings(self.config)

    @cached_property
    def model(self) -> type[EventModel]:
        return load_model(self.settings.event.model, self.settings.event.path)

    @cached_property
    def table(self) -> Table:
        return table_of(self.model)

    @cached_property
    def key_source(self) -> KeySource:
        return key_source_of(self.settings)

    @cached_property
    def connection_settings(self) -> ConnectionSettings:
        return connection_settings_of(self.settings)

    async def key_ring(self) -> KeyRing:
        """Read the key ring anew; raises KeyRingError, KeySourceError."""
        return await load_key_ring(self.key_source)

    def connected(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection for as long as the context lasts; raises DatabaseError."""
        return connected(self.connection_settings)
