-- Statements on consumer.audit.

-- name: record
SELECT number, hash FROM consumer.record_audit(
    $1, $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[]
)

-- name: rows
-- Times as text and in binary: Python's datetime does not reach as far as PostgreSQL's.
SELECT
    number,
    to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at,
    timestamptz_send(at) AS at_binary,
    database_role,
    os_user,
    action,
    reason,
    column_name,
    kid,
    digest,
    outcome,
    previous_hash,
    hash,
    payload
FROM consumer.audit ORDER BY number

-- name: head
SELECT number, hash FROM consumer.audit_head
