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
