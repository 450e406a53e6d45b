-- Rows of partitions that the topic does not have.
SELECT entity_id, _partition, _offset
FROM {table}
WHERE _partition <> ALL(%(partitions)s::integer[])
