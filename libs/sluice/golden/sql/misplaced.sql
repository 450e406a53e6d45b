-- An entity whose row is from another partition of the same epoch: a producer wrote it to the wrong partition.
SELECT i._partition, i._offset, t._partition, t._offset
FROM {incoming} AS i
JOIN {table} AS t USING (entity_id)
WHERE t._topic_epoch = i._topic_epoch AND t._partition <> i._partition
LIMIT 1
