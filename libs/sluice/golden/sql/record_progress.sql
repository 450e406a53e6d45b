-- Writes the next offsets of partitions, and their ledger lines in order, in the transaction of their rows.
WITH n AS (
    SELECT * FROM unnest(
        %(topics)s::text[], %(partitions)s::integer[], %(topic_ids)s::text[], %(processed)s::bigint[],
        %(paused_at)s::double precision[], %(keys)s::text[], %(lines)s::text[]
    ) WITH ORDINALITY AS n(topic, partition, topic_id, processed, paused_at, key, line, number)
), progress AS (
    UPDATE {owner} AS o
    SET topic_id = n.topic_id, processed = n.processed, at = now(), paused_at = nullif(n.paused_at, 0)
    FROM n
    WHERE o.topic = n.topic AND o.partition = n.partition
)
INSERT INTO {ledger} (key, line) SELECT n.key, n.line::jsonb FROM n ORDER BY n.number
