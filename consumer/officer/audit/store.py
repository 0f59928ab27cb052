"""The audit: who was shown or changed what, and why; each row is chained to the one before.

A row's hash is SHA-256 of its payload and a line feed. The payload is one line of JSON with all
columns of the row and the hash of the row before. The database writes both; `verify` computes them
again here, so that nothing in the database vouches for itself.

The chain shows a row that was changed, removed or moved. It cannot show that someone with the
rights of the table's owner wrote the rest of the chain anew. For that, keep the head elsewhere and
let `verify` expect it.
"""

import hashlib
import json
import os
import pwd
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from consumer.errors import ConsumerError
from consumer.postgres.errors import translated
from consumer.postgres.queries import load_queries

_QUERIES = load_queries(__package__, "queries.sql")
_RECORD = _QUERIES["record"]
_ROWS = _QUERIES["rows"]
_HEAD = _QUERIES["head"]
_ROWS_AT_A_TIME = 1000
_SHA256_BYTES = 32
_TEXTS = ("database_role", "os_user", "action", "reason", "column_name", "kid", "outcome")

# The binary form of an array of bytea: one dimension that begins at 1.
_ARRAY_HEADER = struct.Struct(">iiIii")
_BYTEA_OID = 17
_INT8 = struct.Struct(">q")
_LENGTH = struct.Struct(">i")


class Action(StrEnum):
    """What an officer does that is audited."""

    RECOVER = "recover"
    QUARANTINE_SHOW = "quarantine show"
    QUARANTINE_REPLAY = "quarantine replay"
    ERASE = "erase"
    REMASK = "remask"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is audited; the database adds the number, the time, the role and the hashes.

    `digest` is SHA-256 of the token or of another object, `column` the one it comes from, and
    `outcome` the result. None of them may hold a raw value.
    """

    action: Action
    reason: str
    outcome: str
    column: str | None = None
    kid: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row: its number, which is also the number of rows, and its hash."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "AuditHead":
        """Read the form that `str` gives; raises ValueError."""
        number, _, digest = text.partition(":")
        head = cls(int(number), bytes.fromhex(digest))
        if head.number < 0 or len(head.hash) != _SHA256_BYTES:
            raise ValueError(text)
        return head


EMPTY_AUDIT = AuditHead(0, hashlib.sha256(b"").digest())


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The chain holds up to `head`; `fault` says what is wrong after it, None if nothing is."""

    head: AuditHead
    fault: str | None = None


class AuditError(ConsumerError):
    """The audit was changed, or an older state was restored."""


def sha256_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


async def record(connection: asyncpg.Connection, entries: Sequence[AuditEntry]) -> AuditHead:
    """Append `entries` in order; return the new head.

    Outside of a transaction they are committed when this returns: values may be shown only then.
    Inside of one they are committed with it, and other writers of the audit wait for that.

    Raises:
        DatabaseError: nothing was audited.
    """
    with translated():
        head = await connection.fetchrow(
            _RECORD,
            _os_user(),
            [entry.action.value for entry in entries],
            [entry.reason for entry in entries],
            [entry.column for entry in entries],
            [entry.kid for entry in entries],
            [entry.digest for entry in entries],
            [entry.outcome for entry in entries],
        )
    assert head is not None
    return AuditHead(*head)


async def verify(connection: asyncpg.Connection, expected: AuditHead | None = None) -> AuditVerdict:
    """Follow the chain from its first row; `expected` is a head that must be part of it.

    Raises:
        DatabaseError: as of any statement.
    """
    head, expectation_met = EMPTY_AUDIT, expected in (None, EMPTY_AUDIT)
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            newest = await connection.fetchrow(_HEAD)
            async for row in connection.cursor(_ROWS, prefetch=_ROWS_AT_A_TIME):
                fault = _fault(row, head)
                if fault is not None:
                    return AuditVerdict(head, fault)
                head = AuditHead(row["number"], row["hash"])
                expectation_met = expectation_met or head == expected
    if newest is None or AuditHead(*newest) != head:
        ends = f"the audit ends with row {head.number}, which is not the row that was written last"
        return AuditVerdict(head, f"{ends}: rows were removed from its end, or added past it")
    if not expectation_met:
        return AuditVerdict(head, f"the expected head {expected} is not in it")
    return AuditVerdict(head)


def _fault(row: asyncpg.Record, before: AuditHead) -> str | None:
    """What is wrong with the row that follows `before`."""
    number = before.number + 1
    if row["number"] != number:
        return f"row {number} is missing"
    if row["previous_hash"] != before.hash:
        return f"row {number} does not follow row {before.number}: one of them was replaced"
    if not _has_its_hash(row):
        return f"row {number} was changed"
    return None


def _has_its_hash(row: asyncpg.Record) -> bool:
    payload: str | None = row["payload"]
    if payload is None:
        hashed = row["previous_hash"] + _binary_form(row)
    elif _columns_in(payload) == _columns_of(row):
        hashed = f"{payload}\n".encode()
    else:
        return False
    return bool(row["hash"] == hashlib.sha256(hashed).digest())


def _columns_in(payload: str) -> object:
    try:
        columns: object = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return columns


def _columns_of(row: asyncpg.Record) -> object:
    digest = row["digest"]
    return {
        "number": row["number"],
        "at": row["at"],
        **{name: row[name] for name in _TEXTS},
        "digest": None if digest is None else digest.hex(),
        "previous_hash": row["previous_hash"].hex(),
    }


def _binary_form(row: asyncpg.Record) -> bytes:
    """The columns as PostgreSQL's array_send gives them as bytea[]: what old rows are hashed by."""
    texts = [None if row[name] is None else row[name].encode() for name in _TEXTS]
    *before_digest, outcome = texts
    parts = [_INT8.pack(row["number"]), row["at_binary"], *before_digest, row["digest"], outcome]
    header = _ARRAY_HEADER.pack(1, None in parts, _BYTEA_OID, len(parts), 1)
    return header + b"".join(_framed(part) for part in parts)


def _framed(part: bytes | None) -> bytes:
    return _LENGTH.pack(-1) if part is None else _LENGTH.pack(len(part)) + part


def _os_user() -> str:
    """The account that this process runs as; the environment's variables could name another."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container without an entry for its user
        return f"uid {uid}"
