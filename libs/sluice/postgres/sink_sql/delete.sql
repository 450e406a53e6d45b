-- Rows of deleted entities, unless they are newer than the delete; locked in key order first.
WITH doomed AS (
    SELECT t.entity_id FROM {table} AS t
    JOIN {deleted} AS d USING (entity_id)
    WHERE (t._topic_epoch, t._offset) <= (d.topic_epoch, d."offset")
    ORDER BY t.entity_id COLLATE "C"
    FOR UPDATE OF t
)
DELETE FROM {table} AS t USING doomed WHERE t.entity_id = doomed.entity_id
