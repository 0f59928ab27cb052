"""Looks at the database before the first write: what is there, and what this role may do.

Whatever would make every batch fail, or would change a value on its way into the table, is found
here and named in one line with what to do about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from consumer.errors import DatabaseRefusedError
from consumer.events.table import Column, ColumnKinds, Kind, Table
from consumer.postgres.errors import translated
from consumer.postgres.queries import load_statement, qualified
from consumer.postgres.schema import migrations, schema_version

_KINDS = {
    "text": Kind.TEXT,
    "varchar": Kind.TEXT,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "date": Kind.DATE,
}
_MIGRATE = "run `consumer migrate`"
_UPKEEP = "consumer.truncate_idle_slots()"
_MAY_TRUNCATE = f"SELECT has_function_privilege(to_regprocedure('{_UPKEEP}'), 'EXECUTE')"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `advice` says what to do; with `ok` it is a hint."""

    ok: bool
    what: str
    advice: str = ""
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was found. `kinds` has the columns that can be written.

    `is_migrated`: schema `consumer` is there as this release makes it, and may be used.
    """

    findings: tuple[Finding, ...]
    kinds: ColumnKinds
    is_migrated: bool

    def raise_first_failure(self) -> None:
        """Raise DatabaseRefusedError with the first finding that is not ok, if there is one."""
        for finding in self.findings:
            if not finding.ok:
                raise DatabaseRefusedError(finding.sqlstate, f"{finding.what}: {finding.advice}")


async def inspect(connection: asyncpg.Connection, table: Table) -> Inspection:
    """Look at schema `consumer`, at the table and at this role's rights; raises DatabaseError."""
    with translated():
        findings = await _bookkeeping(connection)
        settings = await _settings(connection)
        records = await connection.fetch(
            load_statement("consumer.postgres", "sql/columns.sql"), qualified(table.name)
        )
    is_migrated = all(finding.ok for finding in findings)
    findings += settings
    actual = {record["name"]: _Actual(**record) for record in records}
    if not actual:
        missing = _failure(f"table {table.name} is missing", _MIGRATE, "42P01")
        return Inspection((*findings, missing), {}, is_migrated)
    findings += _columns(table, actual)
    return Inspection(tuple(findings), _kinds(table, actual), is_migrated)


async def inspect_table(connection: asyncpg.Connection, table: Table) -> ColumnKinds:
    """The kinds of the columns to write.

    Raises:
        DatabaseRefusedError: with the first thing in the way, if anything is.
        DatabaseError: as of any statement.
    """
    inspection = await inspect(connection, table)
    inspection.raise_first_failure()
    return inspection.kinds


async def table_kinds(connection: asyncpg.Connection, table: Table) -> ColumnKinds:
    """The kinds of the columns that are there, for whoever needs no right to write them.

    Raises:
        DatabaseRefusedError: the table is missing.
        DatabaseError: as of any statement.
    """
    with translated():
        records = await connection.fetch(
            load_statement("consumer.postgres", "sql/columns.sql"), qualified(table.name)
        )
    if not records:
        raise DatabaseRefusedError("42P01", f"table {table.name} is missing: {_MIGRATE}")
    return _kinds(table, {record["name"]: _Actual(**record) for record in records})


@dataclass(frozen=True, slots=True)
class _Actual:
    """A column as it is; `length` counts characters, None where there is no limit."""

    name: str
    type: str
    length: int | None
    not_null: bool
    has_default: bool
    generated: bool
    may_insert: bool


async def _bookkeeping(connection: asyncpg.Connection) -> list[Finding]:
    if await connection.fetchval("SELECT to_regnamespace('consumer')") is None:
        return [_failure("schema consumer is missing", _MIGRATE, "3F000")]
    if not await connection.fetchval("SELECT has_schema_privilege('consumer', 'USAGE')"):
        advice = "GRANT USAGE ON SCHEMA consumer"
        return [_failure("this role may not use schema consumer", advice, "42501")]
    lacking = await connection.fetch(load_statement("consumer.postgres", "sql/missing_rights.sql"))
    rights = ", ".join(f"{right['privilege']} ON {right['what']}" for right in lacking)
    if any(right["present"] for right in lacking):
        return [_failure("this role lacks rights in schema consumer", f"GRANT {rights}", "42501")]
    version, known = await schema_version(connection), migrations()[-1][0]
    if version != known:
        what = f"schema consumer is at version {version}, this release is at {known}"
        return [_failure(what, _MIGRATE if version < known else "run a newer release", "55000")]
    if lacking:
        return [_failure("schema consumer lacks tables", f"restore these: {rights}", "42P01")]
    may_truncate = await connection.fetchval(_MAY_TRUNCATE)
    hint = "" if may_truncate else f"the ledger will only grow: GRANT EXECUTE ON FUNCTION {_UPKEEP}"
    return [_ok(f"schema consumer: version {version}", hint)]


async def _settings(connection: asyncpg.Connection) -> list[Finding]:
    if await connection.fetchval("SHOW array_nulls") == "on":
        return []
    what, advice = "array_nulls is off, and NULL would become a text", "reset it for this role"
    return [_failure(what, advice, "55000")]


def _kinds(table: Table, actual: Mapping[str, _Actual]) -> ColumnKinds:
    return {
        column.name: kind
        for column in table.columns
        if column.name in actual and (kind := _KINDS.get(actual[column.name].type)) is not None
    }


def _columns(table: Table, actual: Mapping[str, _Actual]) -> list[Finding]:
    findings = []
    for column in table.columns:
        name = f"column {table.name}.{column.name}"
        if column.name in actual:
            findings.append(_column(name, column, actual[column.name]))
        elif not column.optional:
            findings.append(_failure(f"{name} is missing", f"add it: {_declared(column)}", "42703"))
    written = {column.name for column in table.columns}
    findings.extend(
        _failure(
            f"column {table.name}.{name} is NOT NULL without a default, and is not of the event",
            "give it a default or drop NOT NULL",
            "23502",
        )
        for name, other in actual.items()
        if name not in written and other.not_null and not other.has_default
    )
    return findings


def _column(name: str, column: Column, actual: _Actual) -> Finding:
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
    limit = f"({column.length})" if column.length is not None else ""
    names = {Kind.TEXT: f"varchar{limit}", Kind.INTEGER: "integer", Kind.DATE: "date"}
    return " or ".join(names[kind] for kind in column.kinds)


def _failure(what: str, advice: str, sqlstate: str) -> Finding:
    return Finding(ok=False, what=what, advice=advice, sqlstate=sqlstate)


def _ok(what: str, hint: str = "") -> Finding:
    return Finding(ok=True, what=what, advice=hint)
