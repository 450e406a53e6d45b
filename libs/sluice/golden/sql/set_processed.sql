-- Writes the next offsets of partitions, in the transaction of their rows.
UPDATE {owner} AS o SET topic_id = n.topic_id, processed = n.processed, at = now(), paused_at = nullif(n.paused_at, 0)
FROM unnest(
    %(topics)s::text[], %(partitions)s::integer[], %(topic_ids)s::text[], %(processed)s::bigint[],
    %(paused_at)s::double precision[]
) AS n(topic, partition, topic_id, processed, paused_at)
WHERE o.topic = n.topic AND o.partition = n.partition
