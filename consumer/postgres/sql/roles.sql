-- The group roles and all that each may do; other rights that an operator granted stay. Roles
-- belong to the whole server, so they may be there already.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY
        ARRAY['consumer_writer', 'consumer_analyst', 'consumer_officer', 'consumer_maintenance']
    LOOP
        BEGIN
            IF to_regrole(name) IS NULL THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- created meanwhile from another database of this server
        END;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA consumer, {schema}
    TO consumer_writer, consumer_analyst, consumer_officer, consumer_maintenance;
GRANT SELECT ON consumer.migrations TO consumer_writer, consumer_officer, consumer_maintenance;

-- What `run` does. ON CONFLICT and RETURNING have to read the ledger, and the reasons.
GRANT INSERT ON {table} TO consumer_writer;
GRANT SELECT, INSERT ON consumer.ledger, consumer.masking_keys TO consumer_writer;
GRANT INSERT, SELECT (reason) ON consumer.quarantine TO consumer_writer;
GRANT EXECUTE ON FUNCTION consumer.truncate_idle_slots() TO consumer_writer;

GRANT SELECT ON {readable} TO consumer_analyst;

-- Recovers, reads and replays the quarantine, erases. The commands audit each of these; what is
-- deleted by hand is not audited.
GRANT SELECT ON {readable} TO consumer_officer;
GRANT INSERT, DELETE ON {table} TO consumer_officer;
GRANT SELECT, DELETE, UPDATE (reason, field_name) ON consumer.quarantine TO consumer_officer;
GRANT SELECT, INSERT ON consumer.ledger, consumer.masking_keys, consumer.erased
    TO consumer_officer;
GRANT EXECUTE ON FUNCTION
    consumer.record_audit(text, text[], text[], text[], text[], bytea[], text[])
    TO consumer_officer;

-- Remasks, prunes the ledger, verifies the audit.
GRANT SELECT{update} ON {table} TO consumer_maintenance;
GRANT SELECT, UPDATE (kid, sealed_body) ON consumer.quarantine TO consumer_maintenance;
GRANT SELECT, INSERT, UPDATE, DELETE ON consumer.remasked TO consumer_maintenance;
GRANT SELECT, INSERT ON consumer.masking_keys TO consumer_maintenance;
GRANT SELECT ON consumer.audit, consumer.audit_head TO consumer_maintenance;
GRANT EXECUTE ON FUNCTION consumer.truncate_idle_slots(),
    consumer.record_audit(text, text[], text[], text[], text[], bytea[], text[])
    TO consumer_maintenance;
