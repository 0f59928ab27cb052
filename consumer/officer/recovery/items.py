"""Tokens to recover: where they come from, and the forms in which their values are shown."""

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import BinaryIO, Protocol, TextIO

import click

from consumer.officer.recovery.query import Answer
from consumer.telemetry.redaction import escaped

_HEADER_ROWS = 1


@dataclass(frozen=True, slots=True)
class Item:
    """A token, empty if there is none; `place` names it in errors, `cells` are the row's own."""

    place: str
    token: str
    cells: Sequence[str] = field(default=(), repr=False)


Shown = Sequence[tuple[Item, str | None]]


class Output(Protocol):
    """Shows items with their values, None for those that have none."""

    def write(self, batch: Shown) -> None:
        """Show a batch; of none at all, what there is to show of it."""


async def listed(tokens: Iterable[str]) -> AsyncIterator[Item]:
    """Tokens, one an element or a line."""
    for number, token in enumerate(tokens, 1):
        yield Item(f"token {number}", token.strip())


class Table:
    """The rows of a table with a column of tokens, as CSV or as a query's answer.

    `rows` are rows of texts, each as long as `columns`.

    Raises:
        ClickException: when made, if there is no column `tokens`.
    """

    def __init__(self, columns: Sequence[str], tokens: str, into: str) -> None:
        if tokens not in columns:
            # Not the names that are there: without a header they would be values.
            raise click.ClickException(f"there is no column {tokens}")
        self._tokens = columns.index(tokens)
        self._into = columns.index(into) if into in columns else len(columns)
        self._columns = columns
        self.header = self.with_value(columns, into)

    def item(self, number: int, cells: Sequence[str]) -> Item:
        """Row `number` as an item; raises ClickException if it is shorter or longer."""
        if len(cells) != len(self._columns):
            raise click.ClickException(
                f"row {number} has {len(cells)} fields, and there are {len(self._columns)} columns"
            )
        return Item(f"row {number}", cells[self._tokens], cells)

    def with_value(self, cells: Sequence[str], value: str) -> list[str]:
        """A row with the value in its column."""
        return [*cells[: self._into], value, *cells[self._into + 1 :]]


class CsvFile:
    """The rows of a CSV file in UTF-8 with a header; raises ClickException for any other."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(self._lines, strict=True)
        self.columns = self._next() or []

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            fault = str(error)
        except UnicodeDecodeError:
            fault = "not UTF-8"
        raise click.ClickException(f"line {self._reader.line_num + 1}: {fault}")

    def release(self) -> None:
        """Leave the file to whoever opened it."""
        self._lines.detach()

    async def items(self, table: Table) -> AsyncIterator[Item]:
        """The rows, numbered as in a spreadsheet: the header is row 1."""
        number = _HEADER_ROWS
        while (cells := self._next()) is not None:
            number += 1
            if cells:  # an empty line is no row
                yield table.item(number, cells)


async def answered(answer: Answer, table: Table) -> AsyncIterator[Item]:
    """The rows of a query's answer."""
    number = 0
    async for cells in answer.rows:
        number += 1
        yield table.item(number, cells)


class Lines:
    """A value a line; an empty line where there is none."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, batch: Shown) -> None:
        """Show a batch."""
        self._stream.writelines(f"{escaped(value or '')}\n" for _, value in batch)
        self._stream.flush()


class Csv:
    """Rows with a column for the values; on a terminal what could control it is escaped."""

    def __init__(self, stream: TextIO, table: Table) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._shown = escaped if stream.isatty() else str
        self._table = table
        self._begun = False

    def write(self, batch: Shown) -> None:
        """Show a batch; before the first, the header."""
        rows = [self._table.with_value(item.cells, value or "") for item, value in batch]
        if not self._begun:
            rows.insert(0, self._table.header)
            self._begun = True
        self._writer.writerows(map(self._shown, row) for row in rows)
        self._stream.flush()
