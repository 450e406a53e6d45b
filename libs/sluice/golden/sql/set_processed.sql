-- Writes the next offset of a partition, in the transaction of its rows.
UPDATE {owner} SET topic_id = %(topic_id)s, processed = %(processed)s, at = now(),
    paused_at = nullif(%(paused_at)s::double precision, 0)
WHERE topic = %(topic)s AND partition = %(partition)s
