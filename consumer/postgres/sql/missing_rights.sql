-- What this role may not do in schema consumer, though it has to. The tables are looked up in the
-- catalog: naming one needs the right to use the schema.
WITH needed (what, privilege, attribute) AS (
    VALUES
        ('migrations', 'SELECT', NULL),
        ('ledger', 'SELECT', NULL),
        ('ledger', 'INSERT', NULL),
        ('quarantine', 'SELECT', 'reason'),
        ('quarantine', 'INSERT', NULL),
        ('masking_keys', 'SELECT', NULL),
        ('masking_keys', 'INSERT', NULL)
)
SELECT
    needed.what,
    needed.privilege || coalesce(' (' || needed.attribute || ')', '') AS privilege,
    class.oid IS NOT NULL AS present
FROM needed
LEFT JOIN pg_catalog.pg_class AS class
    ON class.relnamespace = to_regnamespace('consumer')
    AND class.relkind IN ('r', 'p')
    AND class.relname = needed.what
WHERE NOT coalesce(
    CASE WHEN needed.attribute IS NULL
        THEN has_table_privilege(class.oid, needed.privilege)
        ELSE has_column_privilege(class.oid, needed.attribute, needed.privilege)
    END,
    false
)
ORDER BY needed.what, needed.privilege
