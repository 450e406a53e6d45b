-- Tombstones of some partitions of an entity.
SELECT entity_id, topic_epoch, "offset"
FROM {tombstones}
WHERE entity = %(entity)s AND partition = ANY(%(partitions)s::integer[])
