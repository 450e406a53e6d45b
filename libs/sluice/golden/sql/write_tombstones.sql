-- Writes tombstones for deleted entities in key order, but none where the row or the tombstone is newer already.
WITH written AS (
    INSERT INTO {tombstones} AS g (entity, entity_id, topic_epoch, partition, "offset")
    SELECT {entity}, d.entity_id, d.topic_epoch, d.partition, d."offset"
    FROM {deleted} AS d
    WHERE NOT EXISTS (
        SELECT FROM {table} AS t
        WHERE t.entity_id = d.entity_id AND (t._topic_epoch, t._offset) > (d.topic_epoch, d."offset")
        OFFSET 0 -- a look-up by the index for each entity; otherwise Postgres may read the whole table
    )
    ORDER BY d.entity_id COLLATE "C"
    ON CONFLICT (entity, entity_id) DO UPDATE
    SET topic_epoch = excluded.topic_epoch, partition = excluded.partition, "offset" = excluded."offset", at = now()
    WHERE (g.topic_epoch, g."offset") < (excluded.topic_epoch, excluded."offset")
    RETURNING g.partition
)
SELECT partition, count(*) FROM written GROUP BY partition
