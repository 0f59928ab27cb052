"""The parameters of a call, read with their types and ranges."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

from devkit.sqs.errors import MALFORMED, SqsError, invalid, missing

_T = TypeVar("_T")

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
    return _list_of(parameters, name, str)


def text_map_of(parameters: Parameters, name: str) -> dict[str, str]:
    """Return texts by name, empty where there are none.

    Raises:
        SqsError: it is something else.
    """
    return _map_of(parameters, name, str)


def inner_list_of(parameters: Parameters, name: str) -> list[Parameters]:
    """Return a list of structures, empty where there is none.

    Raises:
        SqsError: it is something else.
    """
    return _list_of(parameters, name, dict)


def inner_map_of(parameters: Parameters, name: str) -> dict[str, Parameters]:
    """Return structures by name, empty where there are none.

    Raises:
        SqsError: it is something else.
    """
    return _map_of(parameters, name, dict)


def _list_of(parameters: Parameters, name: str, kind: type[_T]) -> list[_T]:
    value = parameters.get(name) or []
    if isinstance(value, list):
        items = [item for item in value if isinstance(item, kind)]
        if len(items) == len(value):
            return items
    raise _wrong_type(name)


def _map_of(parameters: Parameters, name: str, kind: type[_T]) -> dict[str, _T]:
    value = parameters.get(name) or {}
    if isinstance(value, dict):
        items = {key: item for key, item in value.items() if isinstance(item, kind)}
        if len(items) == len(value):
            return items
    raise _wrong_type(name)


def _wrong_type(name: str) -> SqsError:
    return SqsError(MALFORMED, f"The parameter {name} is of the wrong type.")
