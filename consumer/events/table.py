"""The shape of an event's table, as the model declares it and as the database has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The column types that are written."""

    TEXT = "text"
    INTEGER = "integer"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a model declares it.

    `kinds` are the types that it may have in an existing table; the first is the one that
    `migrate` creates. `length` is that of the longest text, in characters. An `optional` column is
    written only if the table has it.
    """

    name: str
    kinds: tuple[Kind, ...]
    length: int | None = None
    required: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """An event's table; rows carry their values in the order of `columns`."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class DuplicatesView:
    """A view of schema `consumer`: the tokens that `column` of `table` holds more than once.

    `day` and `subject` are columns of the table: the UTC day, and the user whose event it is.
    """

    view: str
    table: str
    column: str
    day: str
    subject: str | None = None


ColumnKinds = Mapping[str, Kind]
