-- Lock the owner rows of a batch's partitions, in one order for all sinks.
SELECT topic, partition, owner_no FROM {owner}
WHERE (topic, partition) IN (SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[]))
ORDER BY topic, partition
FOR UPDATE
