-- Which messages are in the database already. A message's slot is the UTC day it was sent on,
-- modulo 32: SQS keeps a message 14 days at most, so a slot is idle, and truncated whole, long
-- before its day comes round again.
CREATE TABLE consumer.ledger (
    slot smallint NOT NULL,
    message_id uuid NOT NULL,
    PRIMARY KEY (slot, message_id)
) PARTITION BY LIST (slot);

DO $$
BEGIN
    FOR slot IN 0..31 LOOP
        EXECUTE format(
            'CREATE TABLE consumer.%I PARTITION OF consumer.ledger FOR VALUES IN (%s)',
            'ledger_' || to_char(slot, 'FM00'), slot
        );
    END LOOP;
END
$$;

-- The messages that were no valid event, each once, even if the ledger was lost meanwhile; the body
-- is encrypted under the key `kid`.
CREATE TABLE consumer.quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot smallint NOT NULL,
    message_id uuid NOT NULL UNIQUE,
    sent_at timestamptz NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    event text NOT NULL,
    reason text NOT NULL,
    field_name text,
    kid text NOT NULL,
    sealed_body bytea NOT NULL
);

-- A MAC of each masking key under its name: a replica with another key under a known name would
-- give the same value a second token, so it refuses to start.
CREATE TABLE consumer.masking_keys (
    kid text PRIMARY KEY,
    "check" bytea NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);
