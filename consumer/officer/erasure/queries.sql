-- Statements on consumer.erased, the erasure list, and on the rows of subjects.

-- name: add_to_list
INSERT INTO consumer.erased (column_name, kid, subject_hash, erased_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
ON CONFLICT DO NOTHING

-- name: list
SELECT column_name, kid, subject_hash, erased_at FROM consumer.erased
ORDER BY erased_at, column_name, kid, subject_hash

-- name: now
SELECT now()

-- name: delete_rows
DELETE FROM {table} WHERE {column}::text = ANY ($1::text[])

-- name: subjects
SELECT DISTINCT {column}::text FROM {table} WHERE {column} IS NOT NULL
