"""PostgreSQL: where the rows, the ledger and the quarantine are."""

from consumer.postgres.connection import (
    Connections,
    Server,
    briefly_connected,
    close,
    connect,
    connected,
)
from consumer.postgres.export import copy_out
from consumer.postgres.guard import check_keys, first_seen, guard_keys
from consumer.postgres.inspect import Finding, Inspection, inspect, inspect_table, table_kinds
from consumer.postgres.query import Answer, answer_of
from consumer.postgres.remask import Progress, Remasked, Renewal, remask, remask_ahead
from consumer.postgres.roles import grant_roles
from consumer.postgres.schema import add_column, columns_in, migrate
from consumer.postgres.sink import PostgresSink
from consumer.postgres.tokens_left import TokensLeft, tokens_left
from consumer.postgres.upkeep import truncate_idle_slots

__all__ = [
    "Answer",
    "Connections",
    "Finding",
    "Inspection",
    "PostgresSink",
    "Progress",
    "Remasked",
    "Renewal",
    "Server",
    "TokensLeft",
    "add_column",
    "answer_of",
    "briefly_connected",
    "check_keys",
    "close",
    "columns_in",
    "connect",
    "connected",
    "copy_out",
    "first_seen",
    "grant_roles",
    "guard_keys",
    "inspect",
    "inspect_table",
    "migrate",
    "remask",
    "remask_ahead",
    "table_kinds",
    "tokens_left",
    "truncate_idle_slots",
]
