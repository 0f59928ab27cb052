-- Writes a batch in one autocommit statement: either all of it is there or nothing is, and running
-- it again changes nothing. Keys are sorted, or writers with the same messages would deadlock.
-- Rows come as array literals, which are cheaper to make than arrays; what is refused, which is
-- rare, as arrays. Texts are cast to text[], never to varchar(n)[], which cuts longer text silently.
WITH incoming AS (
    SELECT DISTINCT ON (slot, message_id) *
    FROM unnest($1::text::smallint[], $2::text::uuid[], {arrays}) AS t (slot, message_id, {aliases})
    ORDER BY slot, message_id
),
refused AS (
    SELECT DISTINCT ON (slot, message_id) *
    FROM unnest(
        $3::smallint[], $4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[]
    ) AS t (slot, message_id, sent_ms, reason, field_name, kid, sealed_body)
    ORDER BY slot, message_id
),
fresh AS (
    INSERT INTO consumer.ledger (slot, message_id)
    SELECT slot, message_id FROM incoming
    UNION ALL
    SELECT slot, message_id FROM refused
    ORDER BY slot, message_id
    ON CONFLICT DO NOTHING
    RETURNING slot, message_id
),
written AS (
    INSERT INTO {table} ({columns})
    SELECT {aliases} FROM incoming JOIN fresh USING (slot, message_id)
    RETURNING 1
),
quarantined AS (
    INSERT INTO consumer.quarantine
        (slot, message_id, sent_at, event, reason, field_name, kid, sealed_body)
    SELECT
        slot, message_id, to_timestamp(sent_ms / 1000.0), $10::text, reason, field_name, kid,
        sealed_body
    FROM refused JOIN fresh USING (slot, message_id)
    -- Matters only where the ledger was lost: an error would hold up all messages behind it.
    ON CONFLICT DO NOTHING
    RETURNING reason
)
SELECT
    (SELECT count(*) FROM written) AS rows,
    (SELECT array_agg(reason) FROM quarantined) AS reasons,
    -- With `off` a COMMIT is acknowledged that a crash may still undo, and the messages are deleted
    -- by then. This holds for the transaction alone.
    CASE current_setting('synchronous_commit')
        WHEN 'off' THEN set_config('synchronous_commit', 'on', true)
    END AS made_durable
