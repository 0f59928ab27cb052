"""PostgreSQL: where the rows, the ledger and the quarantine are."""

from consumer.postgres.connection import Connections, Server, close, connect, connected
from consumer.postgres.export import copy_out
from consumer.postgres.guard import guard_keys
from consumer.postgres.inspect import Finding, Inspection, inspect, inspect_table
from consumer.postgres.schema import migrate
from consumer.postgres.sink import PostgresSink
from consumer.postgres.upkeep import database_day, truncate_idle_slots

__all__ = [
    "Connections",
    "Finding",
    "Inspection",
    "PostgresSink",
    "Server",
    "close",
    "connect",
    "connected",
    "copy_out",
    "database_day",
    "guard_keys",
    "inspect",
    "inspect_table",
    "migrate",
    "truncate_idle_slots",
]
