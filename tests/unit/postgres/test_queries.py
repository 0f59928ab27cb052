"""Statements in .sql files, and the names that are filled into them."""

import re
from pathlib import Path
from zipfile import ZipFile

from flit_core import buildapi

import consumer
from consumer.postgres.queries import Sql, fill, identifier, literal, load_queries, qualified
from consumer.postgres.schema import MIGRATIONS

_PACKAGE = Path(consumer.__file__).parent
_NAMES = re.compile(r"^-- name: (.*)$", re.MULTILINE)


def test_each_name_leads_to_its_statement() -> None:
    path = "sql/queries.sql"
    for name, text in load_queries("consumer.postgres", path).items():
        assert "-- name:" not in text
        assert text
        assert f"-- name: {name}\n" in (_PACKAGE / "postgres" / path).read_text()


def test_every_named_statement_is_used() -> None:
    code = "".join(path.read_text() for path in _PACKAGE.rglob("*.py"))
    names = [name for path in _PACKAGE.rglob("*.sql") for name in _NAMES.findall(path.read_text())]
    assert names
    assert [name for name in names if f'["{name}"]' not in code] == []


def test_names_are_quoted_whatever_they_hold() -> None:
    assert identifier('a"b') == '"a""b"'
    assert qualified('Ana lytics.log"ins') == '"Ana lytics"."log""ins"'
    assert literal("it's") == "'it''s'"


def test_a_part_is_filled_in_once_and_not_read_for_further_parts() -> None:
    assert fill(Sql("SELECT {column}"), column=identifier("{table}")) == 'SELECT "{table}"'


def test_the_wheel_has_every_statement(tmp_path: Path) -> None:
    with ZipFile(tmp_path / buildapi.build_wheel(str(tmp_path))) as wheel:
        packed = {name for name in wheel.namelist() if name.endswith(".sql")}
    assert packed == {str(path.relative_to(_PACKAGE.parent)) for path in _PACKAGE.rglob("*.sql")}


def test_migrations_are_numbered_without_a_gap_and_each_number_once() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
