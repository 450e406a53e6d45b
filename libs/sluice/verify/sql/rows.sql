-- Rows as they stand, of some partitions of a canonical topic.
SELECT entity_id, {columns}, _revision, _updated_at, _topic_epoch, _partition, _offset, _provenance
FROM {table}
WHERE _partition = ANY(%(partitions)s::integer[])
