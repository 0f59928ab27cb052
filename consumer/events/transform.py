"""From a message to its row, or into quarantine: a pure function of the message and the key ring.

Nothing here raises for what a message holds, and no error's text holds anything of it.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from consumer.errors import SettingsError
from consumer.events.model import EventModel, MaskedColumn, columns_of, table_of
from consumer.events.table import ColumnKinds, Kind
from consumer.masking.encodings import is_utf8
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

# An error of pydantic's holds its input as Python objects, one copy for each error: a body of 1 MiB
# took it 400 ms, and the event loop stood still. Larger bodies lose first what the model ignores.
_SMALL_BODY_CHARACTERS = 4096
# Half a million nested arrays in 1 MiB still take a parser 190 ms, and 110,000 properties 55; so
# many take 20. Counted by their signs, those inside of texts among them.
_MAX_CONTAINERS_AND_PROPERTIES = 50_000
# In JSON only NaN and Infinity have these letters outside of strings.
_NO_NAN = re.compile(r'(?:[^"NI]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+')

_REASONS = {
    "missing": Reason.MISSING_FIELD,
    "json_invalid": Reason.NOT_JSON,
    "model_type": Reason.NOT_AN_OBJECT,
    # The body as such holds a lone surrogate, not as an escape of JSON.
    "string_unicode": Reason.NOT_STORABLE,
    "string_too_short": Reason.TOO_SHORT,
    "string_too_long": Reason.TOO_LONG,
    **{reason.value: reason for reason in Reason},
}

# Values by the field's name; only those with a converter must be texts.
_Fields = dict[str, str | None]
_Convert = Callable[[str], ColumnValue]


class _NotARowError(Exception):
    """Why a message cannot be a row; it is raised and caught in this file."""

    def __init__(self, reason: Reason, field_name: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.field_name = field_name


class Transform:
    """What becomes of a message. `kinds` are the columns' types as the database has them.

    Rows carry the values of the columns in `kinds`, in the order of `table_of(model)`.

    Raises:
        SettingsError: when made, if `kinds` lacks a column or has it in a type that the model
            does not allow.
    """

    def __init__(self, model: type[EventModel], kinds: ColumnKinds, key_ring: KeyRing) -> None:
        # What model_validate_json calls in the end, at three quarters of the cost.
        self._parse = model.__pydantic_validator__.validate_json
        self._json_names = {each.field: each.json_name for each in columns_of(model)}
        self._required = sum(each.is_required() for each in model.model_fields.values())
        _require_columns(model, kinds)
        self._columns = tuple(_columns(model, kinds, key_ring))
        self._seal = BodySeal(key_ring)

    def __call__(self, message: Message) -> Outcome:
        """A row, or the message sealed with the reason; never raises for what a body holds."""
        return self.each((message,))[0]

    def each(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """What becomes of each message; one of many takes half of the time of one alone."""
        found = [self._fields(message) for message in messages]
        valid = [
            (message, fields)
            for message, fields in zip(messages, found, strict=True)
            if not isinstance(fields, Quarantined)
        ]
        rows = iter(self._rows(valid))
        return [one if isinstance(one, Quarantined) else next(rows) for one in found]

    def quarantine(self, message: Message, reason: Reason, field_name: str | None) -> Quarantined:
        """Seal a message that cannot be a row."""
        sealed = self._seal.seal(message.message_id, message.body)
        return Quarantined(message, reason, field_name, self._seal.kid, sealed)

    def _quarantined(self, message: Message, error: Exception) -> Quarantined:
        if isinstance(error, _NotARowError):
            return self.quarantine(message, error.reason, error.field_name)
        if isinstance(error, MemoryError):
            raise error  # not the message's fault
        # A defect in a model must not stop the queue. The error's text may hold values.
        return self.quarantine(message, Reason.TRANSFORM_FAILED, None)

    def _fields(self, message: Message) -> _Fields | Quarantined:
        body = message.body
        if ("NaN" in body or "Infinity" in body) and not _NO_NAN.fullmatch(body):
            return self.quarantine(message, Reason.NOT_JSON, None)
        try:
            reduced = body if len(body) <= _SMALL_BODY_CHARACTERS else self._reduced(body)
            # Not getattr: pydantic's attributes are looked up in the class first. That there are
            # any is for a model's own validators to see to.
            fields: _Fields = self._parse(reduced).__dict__
        except ValidationError as error:
            return self._quarantined(message, self._fault(error, body))
        except Exception as error:  # noqa: BLE001 -- see _quarantined
            return self._quarantined(message, error)
        return fields

    def _rows(self, valid: Sequence[tuple[Message, _Fields]]) -> Sequence[Outcome]:
        """Made column by column, so that the code stays in the processor's caches."""
        refused: dict[int, Quarantined] = {}
        columns = [self._column(valid, *each, refused) for each in self._columns]
        columns.append([message.sent_day for message, _ in valid])
        rows = [
            Row(message, values)
            for (message, _), values in zip(valid, zip(*columns, strict=True), strict=True)
        ]
        return [refused.get(place, row) for place, row in enumerate(rows)] if refused else rows

    def _column(
        self,
        valid: Sequence[tuple[Message, _Fields]],
        name: str,
        convert: _Convert | None,
        refused: dict[int, Quarantined],
    ) -> Sequence[ColumnValue]:
        """The values of a column; a message that has none is added to `refused`, by its place."""
        if convert is None:
            return [fields[name] for _, fields in valid]
        with suppress(Exception):  # the loop below finds out which value is not to be had
            return [
                None if (value := fields[name]) is None else convert(value) for _, fields in valid
            ]
        values: list[ColumnValue] = []
        for place, (message, fields) in enumerate(valid):
            converted, value = None, fields[name]
            try:
                converted = None if value is None else convert(value)
            except ValueRefusedError as error:
                refused.setdefault(place, self.quarantine(message, error.reason, name))
            except Exception as error:  # noqa: BLE001 -- see _quarantined
                refused.setdefault(place, self._quarantined(message, error))
            values.append(converted)
        return values

    def _reduced(self, body: str) -> bytes:
        """A large body with the model's own properties alone, and nothing inside of these."""
        if sum(map(body.count, "[{:")) > _MAX_CONTAINERS_AND_PROPERTIES:
            raise _NotARowError(Reason.INVALID_VALUE)
        if not is_utf8(body):
            raise _NotARowError(Reason.NOT_STORABLE)
        try:
            document: object = from_json(body)
        except ValueError:
            raise self._unparsed(body) from None
        if not isinstance(document, dict):
            raise _NotARowError(Reason.NOT_AN_OBJECT)
        ours = {name: document[name] for name in self._json_names.values() if name in document}
        return to_json({k: [] if isinstance(v, list | dict) else v for k, v in ours.items()})

    def _fault(self, error: ValidationError, body: str) -> _NotARowError:
        # Without these three the list, like str(error), holds what the body holds.
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        kinds = [fault["type"] for fault in faults]
        if kinds == ["missing"] * self._required:
            return _NotARowError(Reason.OTHER_EVENT)
        reason = _reason(kinds[0])
        if reason is Reason.NOT_JSON:
            return self._unparsed(body)
        name = next(iter(faults[0]["loc"]), None)
        return _NotARowError(
            reason, name if isinstance(name, str) and name in self._json_names else None
        )

    def _unparsed(self, body: str) -> _NotARowError:
        r"""Why pydantic did not parse a body: it is not JSON, or it escapes a lone surrogate.

        JSON allows \ud800 alone (RFC 8259, section 8.2); PostgreSQL has no place for it.
        """
        if "\\ud" not in body.lower():
            return _NotARowError(Reason.NOT_JSON)
        try:
            document: object = json.loads(body)
        except (ValueError, RecursionError):
            return _NotARowError(Reason.NOT_JSON)
        fields = document if isinstance(document, dict) else {}
        texts = ((name, fields.get(json_name)) for name, json_name in self._json_names.items())
        lone = (name for name, text in texts if isinstance(text, str) and not is_utf8(text))
        return _NotARowError(Reason.NOT_STORABLE, next(lone, None))


def _require_columns(model: type[EventModel], kinds: ColumnKinds) -> None:
    table = table_of(model)
    for column in table.columns:
        if column.name not in kinds and not column.optional:
            raise SettingsError(f"table {table.name} has no column {column.name}")
        if column.name in kinds and kinds[column.name] not in column.kinds:
            allowed = " or ".join(column.kinds)
            raise SettingsError(f"column {table.name}.{column.name} is not of type {allowed}")


def _columns(
    model: type[EventModel], kinds: ColumnKinds, key_ring: KeyRing
) -> Iterator[tuple[str, _Convert | None]]:
    """For each column of the row its field, and what is done to a value that is not null."""
    for each in columns_of(model):
        if isinstance(each, MaskedColumn):
            if each.column in kinds:
                yield each.field, each.mask(key_ring)
        elif kinds[each.column] is Kind.INTEGER:
            yield each.field, each.as_integer
        else:
            yield each.field, None


def _reason(kind: str) -> Reason:
    """The reason for one of pydantic's error types, or for one of our own."""
    known = _REASONS.get(kind)
    if known is not None:
        return known
    return Reason.WRONG_TYPE if kind.endswith("_type") else Reason.INVALID_VALUE
