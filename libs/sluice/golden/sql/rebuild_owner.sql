-- Stores a pass over a whole partition. The higher owner number ends the lease of a sink that writes the partition now.
INSERT INTO {owner} AS o (topic, partition, owner_no, topic_id, processed, pass_from, pass_end)
VALUES (%(topic)s, %(partition)s, 1, %(topic_id)s, %(first)s, %(first)s, %(end)s)
ON CONFLICT (topic, partition) DO UPDATE
SET owner_no = o.owner_no + 1, topic_id = excluded.topic_id, processed = excluded.processed,
    pass_from = excluded.pass_from, pass_end = excluded.pass_end, at = now()
