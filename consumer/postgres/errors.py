"""What a failure of PostgreSQL or its driver means to us."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from consumer.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DataRejectedError,
    StatementTooSlowError,
)

Failure = (
    asyncpg.PostgresError
    | asyncpg.InterfaceError
    | asyncpg.InternalClientError
    | OSError
    | RuntimeError
)
DRIVER_FAILURES: tuple[type[Failure], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also when no host is writable
)
FAILURES = (
    *DRIVER_FAILURES,
    OSError,  # and with it TimeoutError, name resolution and TLS
    RuntimeError,  # uvloop's, for a write to a transport that the peer has just closed
)

# 44 is a view's WITH CHECK OPTION, P0001 what a trigger of the table's owner raises.
_DATA = ("22", "23", "44", "P0001")
_REFUSED = ("28", "3D", "3F", "42")
_LINK_LOST = ("08", "25006", "57P")

_STATEMENT_TIMEOUT = "57014"
_POOLED = "behind PgBouncer's transaction mode set statement_cache_size to 0"
# By SQLSTATE, or else by its class.
_ADVICE = {
    "08P01": _POOLED,
    "25006": "the server is read-only, as after a failover",
    "26000": _POOLED,
    "28": "check the user and the password in the DSN, and pg_hba.conf",
    "3D": "the DSN names a database that does not exist",
    "3F": "a schema is missing: run `consumer migrate`",
    "42": "a table, column or right is missing: run `consumer check`",
    "42501": "this role lacks a right: `consumer check` names those that `run` needs, and `consumer"
    " migrate --roles` makes a role for each work",
    "42P05": _POOLED,
    "53300": "the server has no connection left",
}


def translate(failure: Failure) -> DatabaseError:
    """Our error for a driver's error, without its text: that may quote the data.

    Classes 22, 23 and 44 and what a trigger raises are the data's fault; 28, 3D, 3F and 42 need
    someone to act (PostgreSQL documentation, appendix A); whatever else there is, known or unknown,
    may pass by itself.
    """
    if isinstance(failure, ssl.SSLCertVerificationError):
        return DatabaseRefusedError(type(failure).__name__, "check sslmode and sslrootcert")
    if isinstance(failure, asyncpg.ClientConfigurationError):
        return DatabaseRefusedError(type(failure).__name__, "check the DSN")
    code = sqlstate_of(failure)
    if code is None:
        return DatabaseError(type(failure).__name__)
    if code.startswith(_DATA):
        named = getattr(failure, "constraint_name", None) or getattr(failure, "column_name", None)
        return DataRejectedError(code, named)
    if code == _STATEMENT_TIMEOUT:
        return StatementTooSlowError(code)
    kind = DatabaseRefusedError if code.startswith(_REFUSED) else DatabaseError
    return kind(code, _ADVICE.get(code) or _ADVICE.get(code[:2], ""))


def sqlstate_of(failure: BaseException) -> str | None:
    """The SQLSTATE, or None if the server gave none."""
    code = failure.sqlstate if isinstance(failure, asyncpg.PostgresError) else None
    return code if isinstance(code, str) else None


def is_data(failure: BaseException) -> bool:
    """Whether the statement failed for its data: then the connection is as good as before."""
    return (sqlstate_of(failure) or "").startswith(_DATA)


def is_link_lost(failure: BaseException) -> bool:
    """Whether the other connections to this server are as bad as the one that failed."""
    code = sqlstate_of(failure)
    return isinstance(failure, FAILURES) if code is None else code.startswith(_LINK_LOST)


@contextmanager
def translated(failures: tuple[type[Failure], ...] = FAILURES) -> Iterator[None]:
    """Raise our error in place of the driver's; for statements that carry no row."""
    try:
        yield
    except failures as failure:
        raise translate(failure) from None
