-- Statements on consumer.quarantine. $1 to $3 select messages: ids, reason, day; NULL selects all.

-- name: groups
SELECT
    event,
    reason,
    field_name,
    count(*) AS messages,
    min((sent_at AT TIME ZONE 'UTC')::date) AS first_day,
    max((sent_at AT TIME ZONE 'UTC')::date) AS last_day
FROM consumer.quarantine
GROUP BY event, reason, field_name
ORDER BY messages DESC, event, reason, field_name

-- name: entries
SELECT
    id,
    event,
    message_id::text AS message_id,
    round(extract(epoch FROM sent_at) * 1000)::bigint AS sent_ms,
    reason,
    field_name,
    kid
FROM consumer.quarantine
WHERE
    ($1::bigint[] IS NULL OR id = ANY ($1))
    AND ($2::text IS NULL OR reason = $2)
    AND ($3::date IS NULL OR (sent_at AT TIME ZONE 'UTC')::date = $3)
ORDER BY id

-- name: sealed_entries
SELECT
    id,
    event,
    message_id::text AS message_id,
    round(extract(epoch FROM sent_at) * 1000)::bigint AS sent_ms,
    reason,
    field_name,
    kid,
    sealed_body
FROM consumer.quarantine
WHERE
    ($1::bigint[] IS NULL OR id = ANY ($1))
    AND ($2::text IS NULL OR reason = $2)
    AND ($3::date IS NULL OR (sent_at AT TIME ZONE 'UTC')::date = $3)
    AND event = $4
    AND id > $5
ORDER BY id LIMIT $6

-- name: update_reasons
UPDATE consumer.quarantine AS quarantined
SET reason = remaining.reason, field_name = remaining.field_name
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS remaining (id, reason, field_name)
WHERE quarantined.id = remaining.id

-- name: delete
DELETE FROM consumer.quarantine WHERE id = ANY ($1::bigint[])
