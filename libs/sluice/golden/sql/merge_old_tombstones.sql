-- Moves tombstones out of the table of an older version, which an older sink created again when it ran once more.
INSERT INTO {schema}._tombstones AS t (entity, entity_id, topic_epoch, partition, "offset", at)
SELECT entity, entity_id, topic_epoch, partition, "offset", at FROM {schema}._graves
ON CONFLICT (entity, entity_id) DO UPDATE
SET topic_epoch = excluded.topic_epoch, partition = excluded.partition, "offset" = excluded."offset", at = excluded.at
WHERE (t.topic_epoch, t."offset") < (excluded.topic_epoch, excluded."offset");
DROP TABLE {schema}._graves;
