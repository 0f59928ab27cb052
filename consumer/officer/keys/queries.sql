-- Where a key is in use.

-- name: rows
SELECT {counts} FROM {table}

-- name: bodies
SELECT count(*) FROM consumer.quarantine WHERE kid = $1
