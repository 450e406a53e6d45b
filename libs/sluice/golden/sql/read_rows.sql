-- Rows as stored: those of some partitions of a canonical topic, or the one of an entity.
SELECT entity_id, {columns}, _revision, _updated_at, _topic_epoch, _partition, _offset, _provenance
FROM {table}
WHERE {which}
