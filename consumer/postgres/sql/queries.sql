-- The statements of this package by what they touch. write.sql has the one that writes batches,
-- roles.sql the rights, migrations/ how schema consumer is made.


-- consumer.ledger

-- name: prune_ledger
SELECT consumer.truncate_idle_slots()

-- name: may_prune_ledger
SELECT has_function_privilege(to_regprocedure('consumer.truncate_idle_slots()'), 'EXECUTE')


-- consumer.masking_keys

-- name: register_fingerprints
INSERT INTO consumer.masking_keys (kid, fingerprint)
SELECT * FROM unnest($1::text[], $2::bytea[]) ORDER BY 1
ON CONFLICT DO NOTHING

-- name: registered_fingerprints
SELECT kid, fingerprint FROM consumer.masking_keys WHERE kid = ANY ($1::text[])

-- name: first_seen
SELECT kid, first_seen FROM consumer.masking_keys


-- consumer.migrations

-- name: lock_migrations
-- A second run waits, and then finds nothing to do.
SELECT pg_advisory_xact_lock(hashtextextended('consumer.migrate', 0))

-- name: create_migrations
CREATE TABLE consumer.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: newest_migration
SELECT coalesce(max(number), 0) FROM consumer.migrations

-- name: record_migration
INSERT INTO consumer.migrations (number, name) VALUES ($1, $2)


-- The event's table and its views

-- name: leave_schema_consumer
-- The default path is "$user", public: a role that is called consumer would make the event's table
-- in our schema, where no analyst looks for it.
SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
WHERE name <> 'consumer' HAVING count(*) > 0

-- name: create_table
CREATE TABLE {table} ({columns})

-- name: limit_lock_wait
-- Other statements queue behind ALTER TABLE's lock for as long as ALTER TABLE waits for it.
SET LOCAL lock_timeout = '5s'

-- name: add_column
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}

-- name: create_duplicates_view
-- The tokens that a column has more than once. While keys are rotated the same value has a token
-- under each key: the view counts the old ones as the new ones that consumer.remasked has for them.
CREATE VIEW {view} AS
SELECT
    coalesce(remasked.new_token, event.{column}) AS token,
    count(*) AS events,
    min(event.{day}) AS first_day,
    max(event.{day}) AS last_day{users}
FROM {table} AS event
LEFT JOIN consumer.remasked
    ON remasked.column_name = {name} AND remasked.old_token = event.{column}
WHERE event.{column} IS NOT NULL
GROUP BY 1
HAVING count(*) > 1

-- name: copy_table
SELECT {columns} FROM {table}


-- The catalog: what there is, and what this role may do

-- name: relation_exists
-- $1 is quoted.
SELECT to_regclass($1) IS NOT NULL

-- name: schema_exists
SELECT to_regnamespace('consumer') IS NOT NULL

-- name: create_schema
-- CREATE SCHEMA IF NOT EXISTS asks for the right to create even where the schema exists.
CREATE SCHEMA consumer

-- name: may_use_schema
SELECT has_schema_privilege('consumer', 'USAGE')

-- name: missing_rights
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

-- name: columns
-- The columns of a table ($1, quoted), and whether this role may write them.
SELECT
    attribute.attname AS name,
    type.typname AS type,
    CASE WHEN type.typname = 'varchar' THEN nullif(attribute.atttypmod, -1) - 4 END AS length,
    attribute.attnotnull AS not_null,
    attribute.atthasdef OR attribute.attidentity <> '' AS has_default,
    attribute.attgenerated <> '' OR attribute.attidentity = 'a' AS generated,
    has_column_privilege(attribute.attrelid, attribute.attnum, 'INSERT') AS may_insert
FROM pg_catalog.pg_attribute AS attribute
JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
WHERE attribute.attrelid = to_regclass($1) AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attnum

-- name: schema_of_table
-- As the server quotes it; the table's name alone does not say it. $1 is quoted.
SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class WHERE oid = $1::regclass

-- name: view_reads_table
-- Whether the view $1 reads the table $2 (both quoted).
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_rewrite AS rule
    JOIN pg_catalog.pg_depend AS depends
        ON depends.classid = 'pg_rewrite'::regclass AND depends.objid = rule.oid
    WHERE rule.ev_class = to_regclass($1) AND depends.refobjid = to_regclass($2)
)

-- name: refused_by
-- Of a table ($1, quoted): its name, its schema, its partition key, and the columns that its
-- constraint or its unique index $2 is on, those of expressions included.
SELECT
    relation.oid::regclass::text,
    relation.relnamespace::regnamespace::text,
    substring(pg_get_partkeydef(relation.oid) FROM '\((.*)\)'),
    ARRAY(
        SELECT attribute.attname::text
        FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = relation.oid AND attribute.attnum IN (
            SELECT unnest(conkey) FROM pg_catalog.pg_constraint
            WHERE conrelid = relation.oid AND conname = $2
            UNION ALL
            SELECT depends.refobjsubid
            FROM pg_catalog.pg_depend AS depends
            JOIN pg_catalog.pg_class AS index ON index.oid = depends.objid
            WHERE depends.classid = 'pg_class'::regclass AND index.relname = $2
                AND index.relnamespace = relation.relnamespace
                AND depends.refclassid = 'pg_class'::regclass
                AND depends.refobjid = relation.oid AND depends.refobjsubid > 0
        )
        ORDER BY attribute.attnum
    )
FROM pg_catalog.pg_class AS relation
WHERE relation.oid = to_regclass($1)

-- name: filtered_tables
-- The tables that this role reads only in part, because of row-level security.
SELECT string_agg(oid::regclass::text, ', ' ORDER BY oid)
FROM pg_catalog.pg_class
WHERE relrowsecurity AND has_table_privilege(oid, 'SELECT') AND row_security_active(oid)

-- name: encoding
SELECT current_setting('server_encoding')

-- name: array_nulls
SELECT current_setting('array_nulls') = 'on'
