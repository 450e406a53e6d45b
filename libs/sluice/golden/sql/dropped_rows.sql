-- The first row that Postgres accepted and did not write, though no newer row or tombstone exists; and their number.
SELECT i.entity_id, count(*) OVER ()
FROM {incoming} AS i
WHERE NOT EXISTS (
    SELECT FROM {tombstones} AS g
    WHERE g.entity = {entity} AND g.entity_id = i.entity_id
      AND (g.topic_epoch, g."offset") > (i._topic_epoch, i._offset)
    OFFSET 0
)
AND NOT EXISTS (
    SELECT FROM {table} AS t
    WHERE t.entity_id = i.entity_id AND (t._topic_epoch, t._offset) >= (i._topic_epoch, i._offset)
    OFFSET 0
)
ORDER BY i._partition, i._offset
LIMIT 1
