"""From messages to their rows, or into quarantine: a pure function of messages and key ring.

Nothing here raises for what a message holds, and no error's text holds any of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import SettingsError
from consumer.events.model import EventModel, MaskedColumn, columns_of, table_of
from consumer.events.table import ColumnKinds, Kind
from consumer.events.validation import BodyValidator, FieldValues, InvalidEvent, defect
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.messages import (
    ColumnValue,
    Message,
    Outcome,
    Quarantined,
    Reason,
    Row,
    ValueRefusedError,
)

_Convert = Callable[[str], ColumnValue]
_ValidMessages = Sequence[tuple[Message, FieldValues]]


@dataclass(frozen=True, slots=True)
class _RowColumn:
    """A column of the row: the field that fills it, and what converts a value that is not null."""

    field: str
    convert: _Convert | None


class Transform:
    """Makes rows of an event model's messages. `kinds` are the column types of the database.

    Rows carry the values of the columns in `kinds`, in the order of `table_of(model)`.

    Raises:
        SettingsError: when made, if `kinds` lacks a column or has it in a type that the model
            does not allow.
    """

    def __init__(self, model: type[EventModel], kinds: ColumnKinds, key_ring: KeyRing) -> None:
        _require_columns(model, kinds)
        self._validate = BodyValidator(model).validate
        self._columns = tuple(_row_columns(model, kinds, key_ring))
        self._seal = BodySeal(key_ring)

    def __call__(self, message: Message) -> Outcome:
        """The row of one message, or the message in quarantine."""
        return self.each((message,))[0]

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """An outcome for each message, in their order; one of many takes half the time."""
        validated = [self._validate(message.body) for message in messages]
        valid = [
            (message, fields)
            for message, fields in zip(messages, validated, strict=True)
            if not isinstance(fields, InvalidEvent)
        ]
        rows = iter(self._rows(valid))
        return [
            self.quarantine(message, found.reason, found.field)
            if isinstance(found, InvalidEvent)
            else next(rows)
            for message, found in zip(messages, validated, strict=True)
        ]

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        """Seal a message that cannot be a row."""
        sealed = self._seal.seal(message.message_id, message.body)
        return Quarantined(message, reason, field_name, self._seal.kid, sealed)

    def _rows(self, valid: _ValidMessages) -> Sequence[Outcome]:
        """The outcomes, made column by column: the code of one stays in the processor's caches."""
        invalid: dict[int, InvalidEvent] = {}
        columns = [_values(valid, column, invalid) for column in self._columns]
        columns.append([message.sent_day for message, _ in valid])
        rows = [
            Row(message, values)
            for (message, _), values in zip(valid, zip(*columns, strict=True), strict=True)
        ]
        if not invalid:
            return rows
        return [
            self.quarantine(row.message, invalid[place].reason, invalid[place].field)
            if place in invalid
            else row
            for place, row in enumerate(rows)
        ]


def _values(
    valid: _ValidMessages, column: _RowColumn, invalid: dict[int, InvalidEvent]
) -> Sequence[ColumnValue]:
    """A column's values. A message without one is added to `invalid`, by its place."""
    field, convert = column.field, column.convert
    try:
        if convert is None:
            return [fields[field] for _, fields in valid]
        return [None if (value := fields[field]) is None else convert(value) for _, fields in valid]
    # BLE001: _values_one_by_one finds out whose value it is, and raises what is not its fault.
    except Exception:  # noqa: BLE001
        return _values_one_by_one(valid, column, invalid)


def _values_one_by_one(
    valid: _ValidMessages, column: _RowColumn, invalid: dict[int, InvalidEvent]
) -> Sequence[ColumnValue]:
    values: list[ColumnValue] = []
    for place, (_, fields) in enumerate(valid):
        value: ColumnValue = None
        try:
            value = _value(fields, column)
        except ValueRefusedError as error:
            invalid.setdefault(place, InvalidEvent(error.reason, column.field))
        except Exception as error:  # noqa: BLE001 -- a model's converters may raise anything
            invalid.setdefault(place, defect(error))
        values.append(value)
    return values


def _value(fields: FieldValues, column: _RowColumn) -> ColumnValue:
    value = fields[column.field]
    return value if value is None or column.convert is None else column.convert(value)


def _require_columns(model: type[EventModel], kinds: ColumnKinds) -> None:
    table = table_of(model)
    for column in table.columns:
        if column.name not in kinds and not column.optional:
            raise SettingsError(f"table {table.name} has no column {column.name}")
        if column.name in kinds and kinds[column.name] not in column.kinds:
            allowed = " or ".join(column.kinds)
            raise SettingsError(f"column {table.name}.{column.name} is not of type {allowed}")


def _row_columns(
    model: type[EventModel], kinds: ColumnKinds, key_ring: KeyRing
) -> Iterator[_RowColumn]:
    for column in columns_of(model):
        if isinstance(column, MaskedColumn):
            if column.column in kinds:
                yield _RowColumn(column.field, column.mask(key_ring))
        elif kinds[column.column] is Kind.INTEGER:
            yield _RowColumn(column.field, column.as_integer)
        else:
            yield _RowColumn(column.field, None)
