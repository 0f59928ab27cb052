-- What this role may not do in schema consumer, though it has to. The tables are looked up in the
-- catalog: naming one needs the right to use the schema.
WITH needed (what, pattern, privilege) AS (
    VALUES
        ('migrations', '^migrations$', 'SELECT'),
        ('ledger', '^ledger$', 'SELECT'),
        ('ledger', '^ledger$', 'INSERT'),
        ('each partition of ledger', '^ledger_\d\d$', 'SELECT'),
        ('each partition of ledger', '^ledger_\d\d$', 'TRUNCATE'),
        ('quarantine', '^quarantine$', 'SELECT'),
        ('quarantine', '^quarantine$', 'INSERT'),
        ('masking_keys', '^masking_keys$', 'SELECT'),
        ('masking_keys', '^masking_keys$', 'INSERT')
)
SELECT needed.what, needed.privilege, count(class.oid) > 0 AS present
FROM needed
LEFT JOIN pg_catalog.pg_class AS class
    ON class.relnamespace = to_regnamespace('consumer')
    AND class.relkind IN ('r', 'p')
    AND class.relname ~ needed.pattern
GROUP BY needed.what, needed.privilege
HAVING NOT coalesce(bool_and(has_table_privilege(class.oid, needed.privilege)), false)
ORDER BY needed.what, needed.privilege
