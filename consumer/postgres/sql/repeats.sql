-- The tokens that a column has more than once. While keys are rotated the same value has a token
-- under each key: what is remasked already counts with what is not yet.
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
