"""Statements from .sql files, and the names of tables and columns that are filled into them."""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import NewType

Sql = NewType("Sql", str)
"""Text that is safe as a part of a statement: from a file of ours, or quoted here."""

# With the headings and blank lines before it, which are of no statement.
_NAME_LINE = re.compile(r"(?:^(?:--.*)?\n)*^-- name: (\w+)\n", re.MULTILINE)


def load_statement(package: str, path: str) -> Sql:
    """The text of a file of one statement, or of several that run together."""
    return Sql(files(package).joinpath(path).read_text(encoding="utf-8").strip())


def load_queries(package: str, path: str) -> Mapping[str, Sql]:
    """The statements of a file, by the names in its `-- name: …` lines.

    Assign them to module constants, so that a missing name fails at import.
    """
    _, *parts = _NAME_LINE.split(load_statement(package, path))
    queries = {name: Sql(text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    assert len(queries) == len(parts) // 2, f"{path} has a name twice"
    return queries


def fill(template: Sql, **parts: Sql) -> Sql:
    """A statement with each `{name}` of its text replaced by the part of that name."""
    return Sql(template.format_map(parts))


def identifier(name: str) -> Sql:
    """A column's or another object's name, quoted."""
    return Sql('"' + name.replace('"', '""') + '"')


def joined(parts: Iterable[Sql], separator: str = ", ") -> Sql:
    """Parts of a statement, one after another."""
    return Sql(separator.join(parts))


def qualified(table: str) -> Sql:
    """A table's name, with or without its schema, each part quoted."""
    return Sql(".".join(map(identifier, table.split("."))))


def literal(text: str) -> Sql:
    """A text as an SQL literal, for statements that take no parameters."""
    return Sql("'" + text.replace("'", "''") + "'")
