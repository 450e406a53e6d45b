-- A partition to be read again: a sink that writes it now finds another number; a pass over all of it is noted.
INSERT INTO {owner} AS o (topic, partition, owner_no, topic_id, processed, pass_from, pass_end)
VALUES (%(topic)s, %(partition)s, 1, %(topic_id)s, %(first)s, %(first)s, %(end)s)
ON CONFLICT (topic, partition) DO UPDATE
SET owner_no = o.owner_no + 1, topic_id = excluded.topic_id, processed = excluded.processed,
    pass_from = excluded.pass_from, pass_end = excluded.pass_end, at = now()
