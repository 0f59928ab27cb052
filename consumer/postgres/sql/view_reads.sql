-- Whether the view $1 reads the table $2 (both quoted).
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_rewrite AS rule
    JOIN pg_catalog.pg_depend AS depends
        ON depends.classid = 'pg_rewrite'::regclass AND depends.objid = rule.oid
    WHERE rule.ev_class = to_regclass($1) AND depends.refobjid = to_regclass($2)
)
