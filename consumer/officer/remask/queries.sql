-- Statements on consumer.remasked (the new token of each old one), and on what is rewritten with it.

-- name: lock
-- One run at a time; held for a transaction only, because poolers do not carry session locks.
SELECT pg_advisory_xact_lock(hashtextextended('consumer.remask', 0))

-- name: plan_by_index
-- The statistics do not know the new mappings yet. To hash or copy all of them for every few pages
-- would take longer than the rest: each token is looked up by the index.
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_material = off;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off

-- name: leaves
-- The table itself, or the partitions that hold its rows.
SELECT relation::regclass::text AS leaf, pg_relation_size(relation) AS bytes
FROM (
    SELECT oid AS relation FROM pg_catalog.pg_class
    WHERE oid = to_regclass($1) AND relkind = 'r'
    UNION
    SELECT relid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf
) AS leaves
ORDER BY 1

-- name: page_bytes
SELECT current_setting('block_size')::integer

-- name: old_tokens
SELECT DISTINCT event.{column} AS token
FROM {leaf} AS event
WHERE
    event.ctid >= format('(%s,0)', $1::bigint)::tid
    AND event.ctid < format('(%s,0)', $2::bigint)::tid
    AND event.{column} NOT LIKE $3
    AND NOT EXISTS (
        SELECT FROM consumer.remasked
        WHERE column_name = $4 AND old_token = event.{column}
    )

-- name: add_mappings
INSERT INTO consumer.remasked (column_name, old_token, new_token)
SELECT $1, * FROM unnest($2::text[], $3::text[]) ORDER BY 2
ON CONFLICT DO NOTHING

-- name: delete_other_mappings
DELETE FROM consumer.remasked WHERE new_token NOT LIKE $1

-- name: delete_all_mappings
DELETE FROM consumer.remasked

-- name: rewrite
-- Gives the rows in the pages [$1, $2) of {leaf} the tokens that consumer.remasked has for theirs.
UPDATE {leaf} AS event
SET {assignments}
FROM {leaf} AS old
{joins}
WHERE
    event.ctid = old.ctid
    AND old.ctid >= format('(%s,0)', $1::bigint)::tid
    AND old.ctid < format('(%s,0)', $2::bigint)::tid
    AND ({found})

-- name: join_mapping
LEFT JOIN consumer.remasked AS {alias}
    ON {alias}.column_name = {name} AND {alias}.old_token = old.{column}

-- name: rows_left
SELECT {counts} FROM {table}

-- name: old_bodies
SELECT id, message_id::text, kid, sealed_body FROM consumer.quarantine
WHERE id > $1 AND kid <> $2 ORDER BY id LIMIT $3

-- name: reseal
UPDATE consumer.quarantine AS quarantined SET kid = $1, sealed_body = resealed.sealed_body
FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS resealed (id, old_kid, sealed_body)
WHERE quarantined.id = resealed.id AND quarantined.kid = resealed.old_kid

-- name: bodies_left
SELECT count(*) FROM consumer.quarantine WHERE kid <> $1
