-- Locks the owner rows of a batch's partitions, in the same order in all sinks, so that none deadlocks.
SELECT topic, partition, owner_no FROM {owner}
WHERE (topic, partition) IN (SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[]))
ORDER BY topic, partition
FOR UPDATE
