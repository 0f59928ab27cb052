"""The parameters of a call, read with their types and ranges."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from consumer.embedded.sqs.errors import MALFORMED, SqsError, invalid, missing

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

Parameters: TypeAlias = Mapping[str, Json]
"""One level of a call's parameters, in the shapes of the JSON protocol."""


def text_of(parameters: Parameters, name: str) -> str:
    """Return a text that must be there and must not be empty.

    Raises:
        SqsError: it is missing, or no text.
    """
    value = optional_text_of(parameters, name)
    if not value:
        raise missing(name)
    return value


def optional_text_of(parameters: Parameters, name: str) -> str | None:
    """Return a text, or None where there is none.

    Raises:
        SqsError: it is no text.
    """
    value = parameters.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong_type(name)


def integer_of(parameters: Parameters, name: str, low: int, high: int) -> int | None:
    """Return a number between `low` and `high`, or None where there is none.

    Raises:
        SqsError: it is no whole number, or outside.
    """
    value = parameters.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name)
    if not low <= value <= high:
        raise invalid(name, value, f"Must be >= {low} and <= {high}, if provided.")
    return value


def texts_of(parameters: Parameters, name: str) -> list[str]:
    """Return a list of texts, empty where there is none.

    Raises:
        SqsError: it is something else.
    """
    value = parameters.get(name) or []
    if isinstance(value, list):
        texts = [item for item in value if isinstance(item, str)]
        if len(texts) == len(value):
            return texts
    raise _wrong_type(name)


def text_map_of(parameters: Parameters, name: str) -> dict[str, str]:
    """Return texts by name, empty where there are none.

    Raises:
        SqsError: it is something else.
    """
    value = parameters.get(name) or {}
    if isinstance(value, dict):
        texts = {key: item for key, item in value.items() if isinstance(item, str)}
        if len(texts) == len(value):
            return texts
    raise _wrong_type(name)


def inner_map_of(parameters: Parameters, name: str) -> dict[str, Parameters]:
    """Return structures by name, empty where there are none.

    Raises:
        SqsError: it is something else.
    """
    value = parameters.get(name)
    if not value:
        return {}
    if isinstance(value, dict):
        inner: dict[str, Parameters] = {
            key: item for key, item in value.items() if isinstance(item, dict)
        }
        if len(inner) == len(value):
            return inner
    raise _wrong_type(name)


def inner_list_of(parameters: Parameters, name: str) -> list[Parameters]:
    """Return a list of structures, empty where there is none.

    Raises:
        SqsError: it is something else.
    """
    value = parameters.get(name) or []
    if isinstance(value, list):
        inner: list[Parameters] = [item for item in value if isinstance(item, dict)]
        if len(inner) == len(value):
            return inner
    raise _wrong_type(name)


def _wrong_type(name: str) -> SqsError:
    return SqsError(MALFORMED, f"The parameter {name} is of the wrong type.")
