"""Tokens to recover: where they come from, and the forms in which their values are shown."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import BinaryIO, Protocol, TextIO

import click

from consumer.telemetry.redaction import escaped


@dataclass(frozen=True, slots=True)
class TokenItem:
    """A token, empty if there is none; `place` names it in errors, `cells` is its row of a CSV."""

    place: str
    token: str = field(repr=False)
    cells: Sequence[str] = field(default=(), repr=False)


RecoveredItems = Sequence[tuple[TokenItem, str | None]]


class RecoveredOutput(Protocol):
    """Shows items with their values; the value of a refused token is None."""

    def write(self, batch: RecoveredItems) -> None:
        """Write a batch and flush it; an empty one writes the header, if it is still missing."""


def token_items(tokens: Iterable[str]) -> Iterator[TokenItem]:
    """An item for each argument or line."""
    for number, token in enumerate(tokens, 1):
        yield TokenItem(f"token {number}", token.strip())


class LineOutput:
    """One value a line; an empty line where there is none."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, batch: RecoveredItems) -> None:
        self._stream.writelines(f"{escaped(value or '')}\n" for _, value in batch)
        self._stream.flush()


class CsvTokens:
    """The rows of a CSV file in UTF-8 with a header; the values go into the column `into`.

    Raises:
        ClickException: it is no CSV in UTF-8, or has no column `column`.
    """

    def __init__(self, file: BinaryIO, column: str, into: str) -> None:
        self._lines = TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(self._lines, strict=True)
        self._columns = self._next() or []
        if column not in self._columns:
            # Not the names of the columns: without a header they would be values.
            raise click.ClickException(f"there is no column {column}")
        self._token_index = self._columns.index(column)
        found = into in self._columns
        self._into_index = self._columns.index(into) if found else len(self._columns)
        self.header = self.with_value(self._columns, into)

    def items(self) -> Iterator[TokenItem]:
        """The rows, numbered as in a spreadsheet: the header is row 1."""
        number = 1
        while (cells := self._next()) is not None:
            number += 1
            if not cells:  # an empty line
                continue
            if len(cells) != len(self._columns):
                raise click.ClickException(
                    f"row {number} has {len(cells)} fields, and the header {len(self._columns)}"
                )
            yield TokenItem(f"row {number}", cells[self._token_index], cells)

    def with_value(self, cells: Sequence[str], value: str) -> list[str]:
        """A row with the value in its column."""
        return [*cells[: self._into_index], value, *cells[self._into_index + 1 :]]

    def close(self) -> None:
        """Detach from the file, which stays open for the caller who opened it."""
        self._lines.detach()

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            fault = str(error)
        except UnicodeDecodeError:
            fault = "not UTF-8"
        raise click.ClickException(f"line {self._reader.line_num + 1}: {fault}")


class CsvOutput:
    """The rows with their values; control characters are escaped on a terminal."""

    def __init__(self, stream: TextIO, tokens: CsvTokens) -> None:
        self._stream = stream
        self._tokens = tokens
        self._writer = csv.writer(stream, lineterminator="\n")
        self._printable = escaped if stream.isatty() else str
        self._has_header = False

    def write(self, batch: RecoveredItems) -> None:
        rows = [self._tokens.with_value(item.cells, value or "") for item, value in batch]
        if not self._has_header:
            rows.insert(0, self._tokens.header)
            self._has_header = True
        self._writer.writerows(map(self._printable, row) for row in rows)
        self._stream.flush()
