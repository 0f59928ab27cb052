"""PostgreSQL: where the rows, the ledger and the quarantine are."""

from consumer.postgres.connection import Connections, Server, close, connect, connected
from consumer.postgres.schema import migrate
from consumer.postgres.sink import PostgresSink

__all__ = ["Connections", "PostgresSink", "Server", "close", "connect", "connected", "migrate"]
