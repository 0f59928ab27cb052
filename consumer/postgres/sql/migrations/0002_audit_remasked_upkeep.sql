-- Who was shown or changed what, and why. Each row's hash covers the row and the hash before it,
-- so a row that is changed, removed or moved breaks the chain (`consumer audit verify`).
CREATE TABLE consumer.audit (
    number bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    database_role text NOT NULL,
    os_user text NOT NULL,
    action text NOT NULL,
    reason text NOT NULL CHECK (reason ~ '\S'),
    column_name text,
    kid text,
    digest bytea CHECK (octet_length(digest) = 32),
    outcome text NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL
);

-- The newest row of the audit: what the next one follows, and how missing newest rows are noticed.
CREATE TABLE consumer.audit_head (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    number bigint NOT NULL,
    hash bytea NOT NULL
);
INSERT INTO consumer.audit_head (number, hash) VALUES (0, sha256(''));

CREATE FUNCTION consumer.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- For each statement, so that it is refused even if no row matches; ALWAYS, so that
-- session_replication_role does not switch it off.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON consumer.audit
    FOR EACH STATEMENT EXECUTE FUNCTION consumer.refuse_change();
ALTER TABLE consumer.audit ENABLE ALWAYS TRIGGER append_only;

-- Appends a row for each element of the arrays and returns the new head. Roles get this function
-- and not the table, so that none can choose a row's time, role, number or hash. session_user is
-- who logged in, whatever SET ROLE says.
CREATE FUNCTION consumer.record_audit(
    os_user text, actions text[], reasons text[], column_names text[], kids text[],
    digests bytea[], outcomes text[], OUT number bigint, OUT hash bytea
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry record;
    now_at timestamptz;
    previous_hash bytea;
BEGIN
    -- What is shown must be on record even if the server crashes; this holds for the transaction.
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
        -- array_send puts a length before each part, and -1 for NULL: no two rows look alike.
        hash := sha256(previous_hash || array_send(ARRAY[
            int8send(number), timestamptz_send(now_at), convert_to(session_user::text, 'UTF8'),
            convert_to(os_user, 'UTF8'), convert_to(entry.action, 'UTF8'),
            convert_to(entry.reason, 'UTF8'), convert_to(entry.column_name, 'UTF8'),
            convert_to(entry.kid, 'UTF8'), entry.digest, convert_to(entry.outcome, 'UTF8')
        ]));
        INSERT INTO consumer.audit VALUES (
            number, now_at, session_user, os_user, entry.action, entry.reason,
            entry.column_name, entry.kid, entry.digest, entry.outcome, previous_hash, hash
        );
    END LOOP;
    UPDATE consumer.audit_head AS head SET number = record_audit.number, hash = record_audit.hash;
END
$$;
REVOKE ALL ON FUNCTION
    consumer.record_audit(text, text[], text[], text[], text[], bytea[], text[]) FROM PUBLIC;

-- While keys are rotated: what each old token of a column (`table.column`) is under the primary
-- key. The views of repeated values join both through it, for the database itself has no key.
CREATE TABLE consumer.remasked (
    column_name text NOT NULL,
    old_token text NOT NULL,
    new_token text NOT NULL,
    PRIMARY KEY (column_name, old_token)
);

-- Who was erased, so that it is done again after a restore of an older state: HMACs under a key of
-- the ring, for a list of the persons themselves would be the next thing to erase.
CREATE TABLE consumer.erased (
    column_name text NOT NULL,
    kid text NOT NULL,
    person_hash bytea NOT NULL CHECK (octet_length(person_hash) = 32),
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (column_name, kid, person_hash)
);

-- Empties the ledger slots that no message still on the queue can have, and returns those that
-- were filled. SQS keeps a message for 14 days; the rest of 16 is for clocks that disagree. One
-- caller at a time: another that comes meanwhile returns none at once. Whoever queues behind
-- TRUNCATE's lock waits as long as TRUNCATE does, hence the lock_timeout.
CREATE FUNCTION consumer.truncate_slots_idle_on(today date) RETURNS integer[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    emptied integer[] := '{}';
    filled boolean;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('consumer.upkeep', 0)) THEN
        RETURN emptied;
    END IF;
    FOR slot IN 0..31 LOOP
        CONTINUE WHEN slot IN (
            SELECT (today + days - date '1970-01-01') % 32 FROM generate_series(-16, 1) AS days
        );
        EXECUTE format('SELECT EXISTS (SELECT FROM consumer.%I)', 'ledger_' || to_char(slot, 'FM00'))
            INTO filled;
        IF filled THEN
            EXECUTE format('TRUNCATE consumer.%I', 'ledger_' || to_char(slot, 'FM00'));
            emptied := emptied || slot;
        END IF;
    END LOOP;
    RETURN emptied;
END
$$;

-- The same by the server's clock, with its owner's rights: a role that only inserts can do the
-- upkeep, and cannot make the ledger forget a message that may come again.
CREATE FUNCTION consumer.truncate_idle_slots() RETURNS integer[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN consumer.truncate_slots_idle_on((now() AT TIME ZONE 'UTC')::date);
END
$$;
REVOKE ALL ON FUNCTION consumer.truncate_slots_idle_on(date), consumer.truncate_idle_slots()
    FROM PUBLIC;
