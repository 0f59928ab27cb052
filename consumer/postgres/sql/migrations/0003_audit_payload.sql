-- The text that a row's hash covers, so that an auditor can check it without this program:
-- psql -Atc 'SELECT payload FROM consumer.audit WHERE number = 7' | sha256sum
-- NULL in older rows: their hash covers the previous hash and the binary form of the columns.
ALTER TABLE consumer.audit ADD COLUMN payload text;

-- As before, but for what is hashed: one line of JSON with its line feed. The payload holds the
-- previous hash, so a row that is changed, removed or moved breaks the chain.
CREATE OR REPLACE FUNCTION consumer.record_audit(
    os_user text, actions text[], reasons text[], column_names text[], kids text[],
    digests bytea[], outcomes text[], OUT number bigint, OUT hash bytea
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry record;
    now_at timestamptz;
    previous_hash bytea;
    payload text;
BEGIN
    -- What is shown must be audited even if the server crashes; this holds for the transaction.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- Locked until COMMIT: the next writer follows our last row, or the same one if we fail.
    SELECT head.number, head.hash INTO STRICT record_audit.number, record_audit.hash
    FROM consumer.audit_head AS head FOR UPDATE;
    FOR entry IN
        SELECT * FROM unnest(actions, reasons, column_names, kids, digests, outcomes)
            AS t (action, reason, column_name, kid, digest, outcome)
    LOOP
        number := number + 1;
        now_at := clock_timestamp();
        previous_hash := hash;
        payload := json_build_object(
            'number', number,
            'at', to_char(now_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'database_role', session_user::text,
            'os_user', os_user,
            'action', entry.action,
            'reason', entry.reason,
            'column_name', entry.column_name,
            'kid', entry.kid,
            'digest', encode(entry.digest, 'hex'),
            'outcome', entry.outcome,
            'previous_hash', encode(previous_hash, 'hex')
        )::text;
        hash := sha256(convert_to(payload || E'\n', 'UTF8'));
        INSERT INTO consumer.audit VALUES (
            number, now_at, session_user, os_user, entry.action, entry.reason,
            entry.column_name, entry.kid, entry.digest, entry.outcome, previous_hash, hash, payload
        );
    END LOOP;
    UPDATE consumer.audit_head AS head SET number = record_audit.number, hash = record_audit.hash;
END
$$;
