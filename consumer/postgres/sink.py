"""Writes batches: one statement, one COMMIT, each message once."""

from collections import Counter
from collections.abc import Sequence
from typing import Self

import asyncpg

from consumer.errors import DatabaseError, DataRejectedError, StatementTooSlowError
from consumer.events.table import Column, ColumnKinds, Kind, Table
from consumer.messages import ColumnValue, Outcome, Quarantined, Reason, Row, Written
from consumer.postgres.arrays import array_literal
from consumer.postgres.connection import Connections, ConnectionSettings
from consumer.postgres.errors import FAILURES, translate
from consumer.postgres.queries import identifier, load_statement, qualified

_Key = tuple[int, str]
_Values = tuple[ColumnValue, ...]
_Array = Sequence[ColumnValue | bytes]

_CASTS = {Kind.TEXT: "text[]", Kind.INTEGER: "bigint[]", Kind.DATE: "date[]"}
_FIRST_COLUMN_PARAMETER = 11
_QUARANTINE_ARRAYS = 7
_MALFORMED = "22000"


def columns_present(table: Table, kinds: ColumnKinds) -> tuple[Column, ...]:
    """The columns that are written, in the order of a row's values."""
    return tuple(column for column in table.columns if column.name in kinds)


def column_lists(table: Table, kinds: ColumnKinds, first_parameter: int) -> dict[str, str]:
    """The parts of a statement that inserts rows given as array literals, one a column.

    `first_parameter` is the number of the first; the rest follow.
    """
    columns = columns_present(table, kinds)
    casts = (_CASTS[kinds[column.name]] for column in columns)
    return {
        "table": qualified(table.name),
        "columns": ", ".join(identifier(column.name) for column in columns),
        "aliases": ", ".join(f"c{position}" for position in range(len(columns))),
        "arrays": ", ".join(
            f"${number}::text::{cast}" for number, cast in enumerate(casts, first_parameter)
        ),
    }


def write_statement(table: Table, kinds: ColumnKinds) -> str:
    """The text of the statement; its parameters are what `parameters` makes of a batch."""
    return load_statement("consumer.postgres", "sql/write.sql").format(
        **column_lists(table, kinds, _FIRST_COLUMN_PARAMETER)
    )


def parameters(batch: Sequence[Outcome], event: str, columns: int) -> list[_Array | str]:
    """A batch as the statement's parameters: arrays of equal length, sorted, each message once.

    Raises:
        DataRejectedError: a row has more or fewer than `columns` values, and unnest would fill the
            shorter arrays with NULL and say nothing; or a text holds a lone surrogate.
    """
    outcomes: dict[_Key, Outcome] = {}
    for outcome in batch:
        message = outcome.message
        outcomes[message.slot, message.message_id] = outcome
    rows: list[_Values] = []
    refused: list[tuple[ColumnValue | bytes, ...]] = []
    for key in sorted(outcomes):
        outcome = outcomes[key]
        if isinstance(outcome, Row):
            if len(outcome.values) != columns:
                raise DataRejectedError(_MALFORMED)
            rows.append(key + outcome.values)
        else:
            refused.append(key + _quarantine_values(outcome))
    slots, message_ids, *values = column_literals(rows, 2 + columns)
    quarantined = zip(*refused, strict=True) if refused else [()] * _QUARANTINE_ARRAYS
    return [slots, message_ids, *quarantined, event, *values]


def column_literals(rows: Sequence[_Values], width: int) -> list[str]:
    """Rows of `width` values as array literals, one a column; raises DataRejectedError."""
    columns = zip(*rows, strict=True) if rows else [()] * width
    return [array_literal(column) for column in columns]


def _quarantine_values(outcome: Quarantined) -> tuple[ColumnValue | bytes, ...]:
    return (
        outcome.message.sent_ms,
        outcome.reason,
        outcome.field_name,
        outcome.kid,
        outcome.sealed_body,
    )


class PostgresSink:
    """Writes batches into the table of an event; use as a context manager.

    `kinds` is what `inspect_table` found. As many batches are written at once as
    `server.max_connections` allows, further ones wait.
    """

    def __init__(self, server: ConnectionSettings, table: Table, kinds: ColumnKinds) -> None:
        self._connections = Connections(server)
        self._statement = write_statement(table, kinds)
        self._event = table.name
        self._columns = len(columns_present(table, kinds))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    async def write(self, batch: Sequence[Outcome]) -> Written:
        """Commit a batch; a message that is there already changes nothing.

        Raises:
            DataRejectedError: the data of a row was refused; nothing was committed.
            DatabaseRefusedError: someone has to act first; nothing was committed.
            DatabaseError: it may or may not be committed; write it again.
        """
        arguments = parameters(batch, self._event, self._columns)
        outcome = await self._execute(arguments)
        if isinstance(outcome, DatabaseError):
            raise outcome
        reasons = Counter(Reason(reason) for reason in outcome["reasons"] or ())
        return Written(
            rows=outcome["rows"],
            quarantined=dict(reasons),
            duplicates=len(batch) - outcome["rows"] - reasons.total(),
        )

    async def _execute(self, arguments: Sequence[object]) -> asyncpg.Record | DatabaseError:
        """The answer, or our error: raised here it would hold the driver's as its context."""
        try:
            async with self._connections.lease() as connection:
                (answer,) = await connection.fetch(self._statement, *arguments)
        except TimeoutError:  # of the statement: that of connecting is our error already
            return StatementTooSlowError("TimeoutError")
        except FAILURES as failure:
            return translate(failure)
        return answer
