-- Stores the entity ids of records that a pass read.
INSERT INTO {seen} (entity, partition, entity_id)
SELECT {entity}, s.partition, s.entity_id
FROM unnest(%(partitions)s::integer[], %(ids)s::text[]) AS s(partition, entity_id)
ORDER BY s.partition, s.entity_id COLLATE "C"
ON CONFLICT DO NOTHING
