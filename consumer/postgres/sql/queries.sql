-- The statements of this package by the table that they touch. write.sql has the one that writes
-- batches, roles.sql the rights, migrations/ how schema consumer is made.

-- consumer.ledger

-- name: prune_ledger
SELECT consumer.truncate_idle_slots()

-- consumer.masking_keys

-- name: register_fingerprints
INSERT INTO consumer.masking_keys (kid, "check")
SELECT * FROM unnest($1::text[], $2::bytea[]) ORDER BY 1
ON CONFLICT DO NOTHING

-- name: registered_fingerprints
SELECT kid, "check" FROM consumer.masking_keys WHERE kid = ANY ($1::text[])

-- name: first_seen
SELECT kid, first_seen FROM consumer.masking_keys
