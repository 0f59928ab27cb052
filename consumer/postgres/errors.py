"""What a failure of PostgreSQL or of its driver means, by SQLSTATE, and what to do about it."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

import asyncpg

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    StatementTooSlowError,
)
from consumer.postgres.queries import identifier, joined

DRIVER_FAILURES: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also when no host is writable
)
FAILURES: tuple[type[Exception], ...] = (
    *DRIVER_FAILURES,
    OSError,  # and with it TimeoutError, name resolution and TLS
    RuntimeError,  # uvloop's, for a write to a transport that the peer has just closed
)

_CHECK_VIOLATION = "23514"


class PartitionMissingError(DatabaseRefusedError):
    """No partition of `table` takes a row; the name has the schema, and is quoted."""

    def __init__(self, table: str, advice: str = "") -> None:
        super().__init__(
            _CHECK_VIOLATION, advice or f"no partition of {table} takes a row: create it"
        )
        self.table = table


class Ends(Enum):
    """Which connections a failed statement ends."""

    NONE = auto()
    ITS_OWN = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[DatabaseError] = DatabaseError
    advice: str = ""
    ends: Ends = Ends.ITS_OWN


_ROW = _Meaning(DataRejectedError, ends=Ends.NONE)
_POOLED = "behind PgBouncer's transaction mode set statement_cache_size to 0"

# By SQLSTATE, by its first three characters or by its class (PostgreSQL documentation, appendix A).
# What names no class of error, or is not here, is transient: it may pass by itself.
_MEANINGS = {
    "08": _Meaning(ends=Ends.ALL),
    "08P01": _Meaning(advice=_POOLED, ends=Ends.ALL),
    "22": _ROW,
    "2200H": _Meaning(
        DatabaseRefusedError, "a sequence of the table is used up: raise its maximum", Ends.NONE
    ),
    "22P03": _Meaning(
        DatabaseRefusedError, "the server cannot read what the driver sends: run another release"
    ),
    "22P05": _Meaning(
        DatabaseRefusedError, "the database's encoding is not UTF8: use one that is", Ends.NONE
    ),
    "23": _ROW,
    "25006": _Meaning(advice="the server is read-only, as after a failover", ends=Ends.ALL),
    "26000": _Meaning(advice=_POOLED),
    "28": _Meaning(
        DatabaseRefusedError, "check the user and the password in the DSN, and pg_hba.conf"
    ),
    "3D": _Meaning(DatabaseRefusedError, "the DSN names a database that does not exist"),
    "3F": _Meaning(DatabaseRefusedError, "a schema is missing: run `consumer migrate`"),
    "42": _Meaning(
        DatabaseRefusedError, "a table, column or right is missing: run `consumer check`"
    ),
    "42501": _Meaning(
        DatabaseRefusedError,
        "this role lacks a right: `consumer check` names those that `run` needs, and"
        " `consumer migrate --roles` makes a role for each work; or row-level security would hide"
        " rows from it: give it BYPASSRLS",
    ),
    "42704": _Meaning(
        DatabaseRefusedError, "the server has no such setting or role: check the DSN's parameters"
    ),
    "42P05": _Meaning(DatabaseRefusedError, _POOLED),
    "44": _ROW,  # a view's WITH CHECK OPTION
    "53300": _Meaning(advice="the server has no connection left"),
    "57014": _Meaning(StatementTooSlowError),
    "57P": _Meaning(ends=Ends.ALL),
    "P0001": _ROW,  # what a trigger of the table's owner raises
}
_TRANSIENT = _Meaning()
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")


@contextmanager
def translated(
    failures: tuple[type[Exception], ...] = FAILURES,
    *,
    timeout: type[DatabaseError] = DatabaseError,
) -> Iterator[None]:
    """Raise our error in place of the driver's, and hold nothing of the driver's.

    The driver's text may quote a row. `failures` are its exceptions; a body that does more than
    talk to the database takes DRIVER_FAILURES. `timeout` is raised for a TimeoutError.

    Raises:
        DatabaseError: one of its subclasses, by SQLSTATE.
    """
    try:
        yield
    except failures as failure:
        error = timeout("TimeoutError") if isinstance(failure, TimeoutError) else _error_of(failure)
        try:
            raise error from None
        finally:
            error.__context__ = None  # `from None` only hides it


def ends(error: DatabaseError) -> Ends:
    """Which connections a statement that failed with this error ends."""
    if not _SQLSTATE.fullmatch(error.sqlstate):
        return Ends.ALL  # the server did not answer
    return _meaning_of(error.sqlstate).ends


def _error_of(failure: Exception) -> DatabaseError:
    name = type(failure).__name__
    match failure:
        case ssl.SSLCertVerificationError():
            return DatabaseRefusedError(name, "check sslmode and sslrootcert")
        case asyncpg.ClientConfigurationError() | ValueError():
            return DatabaseRefusedError(name, "check the DSN")
        case asyncpg.PostgresError(sqlstate=str(code)):
            return _error_of_code(code, failure)
        case _:
            return DatabaseError(name)


def _error_of_code(code: str, failure: asyncpg.PostgresError) -> DatabaseError:
    meaning = _meaning_of(code)
    if meaning.error is not DataRejectedError:
        return meaning.error(code, meaning.advice)
    table = None
    if failure.schema_name and failure.table_name:
        table = joined(map(identifier, (failure.schema_name, failure.table_name)), ".")
    named = failure.constraint_name or failure.column_name
    if code == _CHECK_VIOLATION and named is None and table is not None:
        return PartitionMissingError(table)
    return DataRejectedError(code, named, table)


def _meaning_of(sqlstate: str) -> _Meaning:
    prefixes = (sqlstate[:length] for length in (5, 3, 2))
    return next((_MEANINGS[each] for each in prefixes if each in _MEANINGS), _TRANSIENT)
