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
