"""The parameters of a call, read with their types and ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from consumer.embedded.sqs.errors import MALFORMED, SqsError, invalid, missing

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Parameters:
    """One level of a call's parameters, in the shapes of the JSON protocol."""

    values: Mapping[str, Json]

    def text(self, name: str) -> str:
        """Return a text that must be there and must not be empty.

        Raises:
            SqsError: it is missing, or no text.
        """
        value = self.values.get(name)
        if not value:
            raise missing(name)
        if isinstance(value, str):
            return value
        raise _wrong_type(name)

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where there is none.

        Raises:
            SqsError: it is no text.
        """
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise _wrong_type(name)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return a number between `low` and `high`, or None where there is none.

        Raises:
            SqsError: it is no whole number, or outside.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(name)
        if not low <= value <= high:
            raise invalid(name, value, f"Must be >= {low} and <= {high}, if provided.")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, empty where there is none.

        Raises:
            SqsError: it is something else.
        """
        value = self.values.get(name) or []
        if isinstance(value, list):
            texts = [item for item in value if isinstance(item, str)]
            if len(texts) == len(value):
                return texts
        raise _wrong_type(name)

    def text_map(self, name: str) -> dict[str, str]:
        """Return texts by name, empty where there are none.

        Raises:
            SqsError: it is something else.
        """
        value = self.values.get(name) or {}
        if isinstance(value, dict):
            texts = {key: item for key, item in value.items() if isinstance(item, str)}
            if len(texts) == len(value):
                return texts
        raise _wrong_type(name)

    def inner_map(self, name: str) -> "dict[str, Parameters]":
        """Return structures by name, empty where there are none.

        Raises:
            SqsError: it is something else.
        """
        value = self.values.get(name)
        if not value:
            return {}
        if isinstance(value, dict):
            inner = {key: Parameters(item) for key, item in value.items() if isinstance(item, dict)}
            if len(inner) == len(value):
                return inner
        raise _wrong_type(name)

    def inner_list(self, name: str) -> "list[Parameters]":
        """Return a list of structures, empty where there is none.

        Raises:
            SqsError: it is something else.
        """
        value = self.values.get(name) or []
        if isinstance(value, list):
            inner = [Parameters(item) for item in value if isinstance(item, dict)]
            if len(inner) == len(value):
                return inner
        raise _wrong_type(name)


def _wrong_type(name: str) -> SqsError:
    return SqsError(MALFORMED, f"The parameter {name} is of the wrong type.")
