-- Rows of deleted entities, unless they are newer than the delete; locked in key order first. Returns the first row
-- that was not deleted, and how many there are: a foreign trigger kept them.
WITH doomed AS (
    SELECT t.entity_id FROM {table} AS t
    JOIN {deleted} AS d USING (entity_id)
    WHERE (t._topic_epoch, t._offset) <= (d.topic_epoch, d."offset")
    ORDER BY t.entity_id COLLATE "C"
    FOR UPDATE OF t
), removed AS (
    DELETE FROM {table} AS t USING doomed WHERE t.entity_id = doomed.entity_id RETURNING t.entity_id
)
SELECT entity_id, count(*) OVER () FROM doomed WHERE entity_id NOT IN (SELECT entity_id FROM removed) LIMIT 1
