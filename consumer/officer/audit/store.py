"""The audit: who was shown or changed what, and why; each row chained to the one before.

A row's hash is SHA-256 of the previous row's hash and of the row, as PostgreSQL's array_send
writes its columns as bytea[]. The database makes it; `verify` makes it again here, so that
nothing in the database vouches for itself.

What the chain shows: a row that was changed, removed or moved. What it cannot show by itself:
that someone with the rights of the table's owner wrote the whole rest of the chain anew. For that
the head is kept elsewhere, and `verify` told to expect it.
"""

import hashlib
import os
import pwd
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import asyncpg

from consumer.errors import ConsumerError
from consumer.postgres.errors import translated

_RECORD = """
    SELECT number, hash FROM consumer.record_audit(
        $1, $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[]
    )
"""
_ROWS = """
    SELECT number, at, database_role, os_user, action, reason, column_name, kid, digest, outcome,
        previous_hash, hash
    FROM consumer.audit ORDER BY number
"""
_HEAD = "SELECT number, hash FROM consumer.audit_head"
_ROWS_AT_A_TIME = 1000
_SHA256_BYTES = 32

# Of the binary form of an array: one dimension from 1; timestamps count from 2000.
_ARRAY_HEADER = struct.Struct(">iiIii")
_BYTEA_OID = 17
_INT8 = struct.Struct(">q")
_LENGTH = struct.Struct(">i")
_TIMESTAMP_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Action(StrEnum):
    """What an officer may do that goes on record."""

    RECOVER = "recover"
    QUARANTINE_SHOW = "quarantine show"
    QUARANTINE_REPLAY = "quarantine replay"
    ERASE = "erase"
    REMASK = "remask"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What goes on record; the database adds the number, the time, the role and the hashes.

    `digest` is SHA-256 of the token, or of another object, `column` the one it stands in, and
    `outcome` what came of it. None of them may hold a value.
    """

    action: Action
    reason: str
    outcome: str
    column: str | None = None
    kid: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row: its number, which is also how many there are, and its hash."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "AuditHead":
        """Read what `str` makes; raises ValueError."""
        number, _, digest = text.partition(":")
        head = cls(int(number), bytes.fromhex(digest))
        if head.number < 0 or len(head.hash) != _SHA256_BYTES:
            raise ValueError(text)
        return head


EMPTY_AUDIT = AuditHead(0, hashlib.sha256(b"").digest())


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """How far the chain holds: up to `head`, and what is wrong behind it, None if nothing is."""

    head: AuditHead
    fault: str | None = None


class AuditError(ConsumerError):
    """The audit is not what it was: someone changed it, or an older state was restored."""


def digest_of(token: str) -> bytes:
    """SHA-256 of a token or another text."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def record(connection: asyncpg.Connection, entries: Sequence[AuditEntry]) -> AuditHead:
    """Append `entries` in order; return the head that they make.

    Outside of a transaction they are committed when this returns, and only then may anything be
    shown; inside of one they are committed with it. Other writers wait for that.

    Raises:
        DatabaseError: they are not on record.
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
    """Follow the chain from its first row; with `expected`, that head must be a part of it.

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
        ends = f"the audit ends with row {head.number}, and not with the row that was written last"
        return AuditVerdict(head, f"{ends}: rows were removed from its end, or added past it")
    if not expectation_met:
        return AuditVerdict(head, f"the head that was expected, {expected}, is not in it")
    return AuditVerdict(head)


def _fault(row: asyncpg.Record, before: AuditHead) -> str | None:
    """What is wrong with the row that comes behind `before`."""
    number = before.number + 1
    if row["number"] != number:
        return f"row {number} is missing"
    if row["previous_hash"] != before.hash:
        return f"row {number} does not follow row {before.number}: one of them was replaced"
    if row["hash"] != hashlib.sha256(before.hash + _content(row)).digest():
        return f"row {number} was changed"
    return None


def _content(row: asyncpg.Record) -> bytes:
    microseconds = (row["at"] - _TIMESTAMP_EPOCH) // timedelta(microseconds=1)
    texts = [row[name] for name in ("database_role", "os_user", "action", "reason")]
    parts = [
        _INT8.pack(row["number"]),
        _INT8.pack(microseconds),
        *(_encoded(text) for text in [*texts, row["column_name"], row["kid"]]),
        row["digest"],
        _encoded(row["outcome"]),
    ]
    header = _ARRAY_HEADER.pack(1, None in parts, _BYTEA_OID, len(parts), 1)
    return header + b"".join(_framed(part) for part in parts)


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _framed(part: bytes | None) -> bytes:
    return _LENGTH.pack(-1) if part is None else _LENGTH.pack(len(part)) + part


def _os_user() -> str:
    """Who runs this process by the system's own account, not by the environment."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container without an entry for its user
        return f"uid {uid}"
