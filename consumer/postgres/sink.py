"""Writes batches: one statement, one COMMIT, each message once."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic_core import PydanticSerializationError, to_json

from consumer.errors import DataRejectedError
from consumer.events.table import Column, ColumnKinds, Kind, Table
from consumer.messages import ColumnValue, Outcome, Quarantined, Reason, Row, Written
from consumer.postgres.causes import cause_of
from consumer.postgres.connection import Connections, ConnectionSettings
from consumer.postgres.errors import PartitionMissingError
from consumer.postgres.queries import Sql, fill, identifier, joined, load_statement, qualified

_Key = tuple[int, str]
_Values = tuple[ColumnValue, ...]
Parameter = Sequence[ColumnValue | bytes]

_WRITE = load_statement(__package__, "sql/write.sql")
_CASTS = {Kind.TEXT: "text[]", Kind.INTEGER: "bigint[]", Kind.DATE: "date[]"}
_FIRST_COLUMN_PARAMETER = 11
_QUARANTINE_ARRAYS = 7
_MALFORMED = "22000"
_NOT_IN_REPERTOIRE = "22021"
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")


class WriteStatement:
    """The statement that writes a batch into an event's table, and its parameters.

    `kinds` is what `inspect_table` found.
    """

    def __init__(self, table: Table, kinds: ColumnKinds) -> None:
        self.text = fill(_WRITE, **column_lists(table, kinds, _FIRST_COLUMN_PARAMETER))
        self.columns = frozenset(column.name for column in columns_present(table, kinds))
        self._event = table.name

    def parameters(self, batch: Sequence[Outcome]) -> Sequence[Parameter]:
        """A batch as the statement's parameters: arrays of equal length, sorted, each message once.

        Raises:
            DataRejectedError: a row has too few or too many values, and unnest would silently fill
                the shorter arrays with NULL; or a text holds a lone surrogate.
        """
        outcomes: dict[_Key, Outcome] = {}
        for outcome in batch:
            message = outcome.message
            outcomes[message.slot, message.message_id] = outcome
        width = len(self.columns)
        rows: list[_Values] = []
        refused: list[tuple[ColumnValue | bytes, ...]] = []
        for key in sorted(outcomes):
            outcome = outcomes[key]
            if isinstance(outcome, Row):
                if len(outcome.values) != width:
                    raise DataRejectedError(_MALFORMED)
                rows.append(key + outcome.values)
            else:
                refused.append(key + _quarantine_values(outcome))
        slots, message_ids, *values = column_literals(rows, 2 + width)
        quarantined = zip(*refused, strict=True) if refused else [()] * _QUARANTINE_ARRAYS
        return [slots, message_ids, *quarantined, self._event, *values]


class PostgresSink:
    """Writes batches into the table of an event; use as a context manager.

    As many batches are written at once as `settings.max_connections` allows, further ones wait.
    """

    def __init__(self, settings: ConnectionSettings, statement: WriteStatement) -> None:
        self._connections = Connections(settings)
        self._statement = statement

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
        parameters = self._statement.parameters(batch)
        try:
            async with self._connections.lease() as connection:
                (written,) = await connection.fetch(self._statement.text, *parameters)
        except (DataRejectedError, PartitionMissingError) as error:
            async with self._connections.lease() as connection:
                raise await cause_of(connection, error, self._statement.columns) from None
        reasons = Counter(Reason(reason) for reason in written["reasons"] or ())
        return Written(
            rows=written["rows"],
            quarantined=dict(reasons),
            duplicates=len(batch) - written["rows"] - reasons.total(),
        )


def columns_present(table: Table, kinds: ColumnKinds) -> tuple[Column, ...]:
    """The columns that are written, in the order of a row's values."""
    return tuple(column for column in table.columns if column.name in kinds)


def column_lists(table: Table, kinds: ColumnKinds, first_parameter: int) -> Mapping[str, Sql]:
    """The parts of a statement that inserts rows given as array literals, one a column.

    `first_parameter` is the number of the first; the rest follow.
    """
    columns = columns_present(table, kinds)
    casts = (_CASTS[kinds[column.name]] for column in columns)
    return {
        "table": qualified(table.name),
        "columns": joined(identifier(column.name) for column in columns),
        "aliases": joined(Sql(f"c{position}") for position in range(len(columns))),
        "arrays": joined(
            Sql(f"${number}::text::{cast}") for number, cast in enumerate(casts, first_parameter)
        ),
    }


def column_literals(rows: Sequence[_Values], width: int) -> list[str]:
    """Rows of `width` values as array literals, one a column; raises DataRejectedError."""
    columns = zip(*rows, strict=True) if rows else [()] * width
    return [array_literal(column) for column in columns]


def array_literal(values: Sequence[ColumnValue]) -> str:
    r"""The values of a column as one text, to be cast to an array of the column's type.

    A JSON array with braces for its brackets (PostgreSQL documentation, 8.15.2 and 8.15.6): texts
    stand in quotes, \" and \\ mean the same, and null is NULL unless array_nulls is off. Our
    connections turn it on, and `inspect` refuses it where PgBouncer does not let us. PostgreSQL
    pays 1 µs more for a row of nine such columns than for arrays in its binary form, but asyncpg
    takes 4 µs to make those.

    Raises:
        DataRejectedError: a text holds a lone surrogate, which no text of PostgreSQL can.
    """
    try:
        text = to_json(values).decode()
    except PydanticSerializationError:
        text = ""
    if not text:
        raise DataRejectedError(_NOT_IN_REPERTOIRE)
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    return "{" + text[1:-1] + "}"


def _unescaped(escape: re.Match[str]) -> str:
    r"""PostgreSQL takes the character behind a backslash as it is: to it \n would be an n."""
    if escape[0] in ('\\"', "\\\\"):
        return escape[0]
    character: str = json.loads(f'"{escape[0]}"')
    return character


def _quarantine_values(outcome: Quarantined) -> tuple[ColumnValue | bytes, ...]:
    return (
        outcome.message.sent_ms,
        outcome.reason,
        outcome.field_name,
        outcome.kid,
        outcome.sealed_body,
    )
