-- Deletes the rows of deleted entities, unless a row is newer than its delete. Locks the rows in key order first.
-- Returns the first row that a foreign trigger kept, and the number of such rows.
WITH outdated AS (
    SELECT t.entity_id FROM {table} AS t
    JOIN {deleted} AS d USING (entity_id)
    WHERE (t._topic_epoch, t._offset) <= (d.topic_epoch, d."offset")
    ORDER BY t.entity_id COLLATE "C"
    FOR UPDATE OF t
), removed AS (
    DELETE FROM {table} AS t USING outdated WHERE t.entity_id = outdated.entity_id RETURNING t.entity_id
)
SELECT entity_id, count(*) OVER () FROM outdated WHERE entity_id NOT IN (SELECT entity_id FROM removed) LIMIT 1
