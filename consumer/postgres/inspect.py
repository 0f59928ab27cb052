"""Inspects the database before the first write: what it has, and what this role may do.

Whatever would make every batch fail, or would change a value on its way into the table, is one
finding: a line, with what to do about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.events.table import Column, ColumnKinds, Kind, Table
from consumer.postgres.errors import translated
from consumer.postgres.queries import load_queries, qualified
from consumer.postgres.schema import (
    ENCODING,
    ENCODING_ADVICE,
    NEWEST_VERSION,
    schema_version,
    type_of,
)

_QUERIES = load_queries(__package__, "sql/queries.sql")
_ARRAY_NULLS = _QUERIES["array_nulls"]
_COLUMNS = _QUERIES["columns"]
_ENCODING = _QUERIES["encoding"]
_MAY_PRUNE_LEDGER = _QUERIES["may_prune_ledger"]
_MAY_USE_SCHEMA = _QUERIES["may_use_schema"]
_MISSING_RIGHTS = _QUERIES["missing_rights"]
_SCHEMA_EXISTS = _QUERIES["schema_exists"]

_KINDS = {
    "text": Kind.TEXT,
    "varchar": Kind.TEXT,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "date": Kind.DATE,
}
_MIGRATE = "run `consumer migrate`"
_NOT_PRUNED = "the ledger will only grow: GRANT EXECUTE ON FUNCTION consumer.truncate_idle_slots()"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was inspected. `advice` says what to do; with `ok` it is a hint."""

    ok: bool
    what: str
    advice: str = ""
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """All findings. `kinds` has the columns that can be written.

    `is_migrated`: schema `consumer` is as this release makes it, and this role may use it.
    """

    findings: tuple[Finding, ...]
    kinds: ColumnKinds
    is_migrated: bool

    def raise_first_failure(self) -> None:
        """Raise DatabaseRefusedError with the first finding that is not ok, if there is one."""
        for finding in self.findings:
            if not finding.ok:
                raise DatabaseRefusedError(finding.sqlstate, f"{finding.what}: {finding.advice}")


@dataclass(frozen=True, slots=True)
class _Actual:
    """A column as the database has it; `length` counts characters, None is without limit."""

    name: str
    type: str
    length: int | None
    not_null: bool
    has_default: bool
    generated: bool
    may_insert: bool


async def inspect(connection: asyncpg.Connection, table: Table) -> Inspection:
    """Inspect schema `consumer`, the table and this role's rights; raises DatabaseError."""
    with translated():
        settings = await _settings_findings(connection)
        schema = await _schema_finding(connection)
        actual = await _actual_columns(connection, table)
    columns = _table_findings(table, actual)
    return Inspection((*settings, schema, *columns), _kinds(table, actual), schema.ok)


async def inspect_table(connection: asyncpg.Connection, table: Table) -> ColumnKinds:
    """The kinds of the columns to write.

    Raises:
        DatabaseRefusedError: with the first failure that `inspect` finds.
        DatabaseError: as of any statement.
    """
    inspection = await inspect(connection, table)
    inspection.raise_first_failure()
    return inspection.kinds


async def table_kinds(connection: asyncpg.Connection, table: Table) -> ColumnKinds:
    """The kinds of the columns that the table has, for commands that only read them.

    Raises:
        DatabaseRefusedError: the table is missing.
        DatabaseError: as of any statement.
    """
    with translated():
        actual = await _actual_columns(connection, table)
    if not actual:
        raise DatabaseRefusedError("42P01", f"table {table.name} is missing: {_MIGRATE}")
    return _kinds(table, actual)


async def _actual_columns(connection: asyncpg.Connection, table: Table) -> Mapping[str, _Actual]:
    records = await connection.fetch(_COLUMNS, qualified(table.name))
    return {record["name"]: _Actual(**record) for record in records}


async def _schema_finding(connection: asyncpg.Connection) -> Finding:
    if not await connection.fetchval(_SCHEMA_EXISTS):
        return _failure("schema consumer is missing", _MIGRATE, "3F000")
    if not await connection.fetchval(_MAY_USE_SCHEMA):
        advice = "GRANT USAGE ON SCHEMA consumer"
        return _failure("this role may not use schema consumer", advice, "42501")
    lacking = await connection.fetch(_MISSING_RIGHTS)
    rights = ", ".join(f"{right['privilege']} ON {right['what']}" for right in lacking)
    if any(right["present"] for right in lacking):
        return _failure("this role lacks rights in schema consumer", f"GRANT {rights}", "42501")
    version = await schema_version(connection)
    if version != NEWEST_VERSION:
        what = f"schema consumer is at version {version}, this release is at {NEWEST_VERSION}"
        advice = _MIGRATE if version < NEWEST_VERSION else "run a newer release"
        return _failure(what, advice, "55000")
    if lacking:
        return _failure("schema consumer lacks tables", f"restore these: {rights}", "42P01")
    may_prune = await connection.fetchval(_MAY_PRUNE_LEDGER)
    return _ok(f"schema consumer: version {version}", "" if may_prune else _NOT_PRUNED)


async def _settings_findings(connection: asyncpg.Connection) -> list[Finding]:
    findings = []
    encoding = await connection.fetchval(_ENCODING)
    if encoding != ENCODING:
        what = f"the database's encoding is {encoding}"
        findings.append(_failure(what, ENCODING_ADVICE, "22P05"))
    if not await connection.fetchval(_ARRAY_NULLS):
        what, advice = "array_nulls is off, and NULL would become a text", "reset it for this role"
        findings.append(_failure(what, advice, "55000"))
    return findings


def _kinds(table: Table, actual: Mapping[str, _Actual]) -> ColumnKinds:
    return {
        column.name: kind
        for column in table.columns
        if column.name in actual and (kind := _KINDS.get(actual[column.name].type)) is not None
    }


def _table_findings(table: Table, actual: Mapping[str, _Actual]) -> Iterator[Finding]:
    if not actual:
        yield _failure(f"table {table.name} is missing", _MIGRATE, "42P01")
        return
    for column in table.columns:
        name = f"column {table.name}.{column.name}"
        if column.name in actual:
            yield _column_finding(name, column, actual[column.name])
        elif not column.optional:
            yield _failure(f"{name} is missing", f"add it: {_declared(column)}", "42703")
    written = {column.name for column in table.columns}
    for name, other in actual.items():
        if name not in written and other.not_null and not other.has_default:
            yield _failure(
                f"column {table.name}.{name} is NOT NULL without a default and is not of the event",
                "give it a default or drop NOT NULL",
                "23502",
            )


def _column_finding(name: str, column: Column, actual: _Actual) -> Finding:
    kind = _KINDS.get(actual.type)
    if kind not in column.kinds:
        return _failure(f"{name} is {actual.type}", f"make it {_declared(column)}", "42804")
    if actual.generated:
        return _failure(f"{name} is generated", "make it a plain column", "428C9")
    if not actual.may_insert:
        return _failure(f"this role may not write {name}", "GRANT INSERT", "42501")
    if actual.length is not None and (column.length is None or actual.length < column.length):
        what = f"{name} holds {actual.length} characters"
        return _failure(what, f"make it {_declared(column)}", "22001")
    if actual.not_null and not column.required:
        return _ok(f"{name}: {actual.type}", "it is NOT NULL: events without it are quarantined")
    return _ok(f"{name}: {actual.type}")


def _declared(column: Column) -> str:
    return " or ".join(type_of(column, kind) for kind in column.kinds)


def _failure(what: str, advice: str, sqlstate: str) -> Finding:
    return Finding(ok=False, what=what, advice=advice, sqlstate=sqlstate)


def _ok(what: str, hint: str = "") -> Finding:
    return Finding(ok=True, what=what, advice=hint)
