-- Writes rows that were in quarantine, each once: only the statement that deletes a row there inserts
-- it here. The ledger knows the message since it was quarantined. It may have been pruned or lost
-- since then, so the message is added again: it may still be on the queue.
WITH incoming AS (
    SELECT * FROM unnest($1::bigint[], {arrays}) AS t (id, {aliases})
),
leaving AS (
    DELETE FROM consumer.quarantine AS quarantined USING incoming
    WHERE quarantined.id = incoming.id
    RETURNING quarantined.id, quarantined.slot, quarantined.message_id
),
known AS (
    INSERT INTO consumer.ledger (slot, message_id)
    SELECT slot, message_id FROM leaving ORDER BY slot, message_id
    ON CONFLICT DO NOTHING
)
INSERT INTO {table} ({columns})
SELECT {aliases} FROM incoming JOIN leaving USING (id)
