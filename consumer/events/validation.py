"""From a message's body to the fields of its event, or to the reason why it is none.

Nothing here raises for what a body holds, and no reason holds any of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from consumer.events.model import EventModel, columns_of
from consumer.masking.encodings import is_utf8
from consumer.messages import Reason

# pydantic's errors hold their input as Python objects, each error a copy: for a body of 1 MiB they
# block the event loop for 400 ms. A larger body is reduced to what the model reads.
SMALL_BODY_CHARACTERS = 4096
# Counted by their signs, those inside of texts too. So many take a parser 20 ms; half a million
# nested arrays, which fit into 1 MiB, take it 190.
MAX_CONTAINERS_AND_PROPERTIES = 50_000
# Outside of strings, only NaN and Infinity have these letters in what pydantic takes for JSON.
_WITHOUT_NAN = re.compile(r'(?:[^"NI]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+')

_REASONS = {
    "missing": Reason.MISSING_FIELD,
    "json_invalid": Reason.NOT_JSON,
    "model_type": Reason.NOT_AN_OBJECT,
    # The body itself holds a lone surrogate, not as an escape of JSON.
    "string_unicode": Reason.NOT_STORABLE,
    "string_too_short": Reason.TOO_SHORT,
    "string_too_long": Reason.TOO_LONG,
    **{reason.value: reason for reason in Reason},
}

# An int field has an int; only the values of text fields are converted or masked.
FieldValues = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class InvalidEvent:
    """Why a message is no event of the model, and the model's field that is wrong, if it is one."""

    reason: Reason
    field: str | None = None


class BodyValidator:
    """Validates bodies against an event model."""

    def __init__(self, model: type[EventModel]) -> None:
        # What model_validate_json calls in the end, at three quarters of the cost.
        self._parse = model.__pydantic_validator__.validate_json
        self._json_names = {each.field: each.json_name for each in columns_of(model)}
        self._required = sum(each.is_required() for each in model.model_fields.values())

    def validate(self, body: str) -> FieldValues | InvalidEvent:
        """The event's values by the names of its fields, or why there is no event."""
        if ("NaN" in body or "Infinity" in body) and not _WITHOUT_NAN.fullmatch(body):
            return InvalidEvent(Reason.NOT_JSON)
        try:
            if len(body) <= SMALL_BODY_CHARACTERS:
                # Not vars(): pydantic's classes look an attribute up in the class first.
                fields: FieldValues = self._parse(body).__dict__
                return fields
            return self._validate_large(body)
        except ValidationError as error:
            return self._explain(error, body)
        except Exception as error:  # noqa: BLE001 -- a model's validators may raise anything
            return defect(error)

    def _validate_large(self, body: str) -> FieldValues | InvalidEvent:
        if sum(map(body.count, "[{:")) > MAX_CONTAINERS_AND_PROPERTIES:
            return InvalidEvent(Reason.INVALID_VALUE)
        if not is_utf8(body):
            return InvalidEvent(Reason.NOT_STORABLE)
        try:
            document: object = from_json(body)
        except ValueError:
            return self._explain_unparsed(body)
        if not isinstance(document, dict):
            return InvalidEvent(Reason.NOT_AN_OBJECT)
        ours = {name: document[name] for name in self._json_names.values() if name in document}
        fields: FieldValues = self._parse(
            to_json({k: [] if isinstance(v, list | dict) else v for k, v in ours.items()})
        ).__dict__
        return fields

    def _explain(self, error: ValidationError, body: str) -> InvalidEvent:
        # Without these three the list, like str(error), holds what the body holds.
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        kinds = [fault["type"] for fault in faults]
        if kinds == ["missing"] * self._required:
            return InvalidEvent(Reason.OTHER_EVENT)
        reason = _reason_of(kinds[0])
        if reason is Reason.NOT_JSON:
            return self._explain_unparsed(body)
        name = next(iter(faults[0]["loc"]), None)
        return InvalidEvent(
            reason, name if isinstance(name, str) and name in self._json_names else None
        )

    def _explain_unparsed(self, body: str) -> InvalidEvent:
        r"""Why pydantic did not parse a body: it is not JSON, or it escapes a lone surrogate.

        JSON allows \ud800 alone (RFC 8259, section 8.2), but PostgreSQL cannot store it.
        """
        if "\\ud" not in body.lower():
            return InvalidEvent(Reason.NOT_JSON)
        try:
            document: object = json.loads(body)
        except (ValueError, RecursionError):
            return InvalidEvent(Reason.NOT_JSON)
        values = document if isinstance(document, dict) else {}
        texts = ((field, values.get(name)) for field, name in self._json_names.items())
        lone = (field for field, text in texts if isinstance(text, str) and not is_utf8(text))
        return InvalidEvent(Reason.NOT_STORABLE, next(lone, None))


def defect(error: Exception) -> InvalidEvent:
    """What a defect in a model makes of its message: the queue goes on. The text may hold values.

    Raises:
        MemoryError: the error is one, so the message is not to blame.
    """
    if isinstance(error, MemoryError):
        raise error
    return InvalidEvent(Reason.TRANSFORM_FAILED)


def _reason_of(kind: str) -> Reason:
    """The reason for one of pydantic's error types, or for one of our own."""
    known = _REASONS.get(kind)
    if known is not None:
        return known
    return Reason.WRONG_TYPE if kind.endswith("_type") else Reason.INVALID_VALUE
