-- Makes the caller the owner of a partition: raises its owner number by one. Returns the progress so far.
INSERT INTO {owner} AS o (topic, partition, owner_no, topic_id)
VALUES (%(topic)s, %(partition)s, 1, %(topic_id)s)
ON CONFLICT (topic, partition) DO UPDATE SET owner_no = o.owner_no + 1
RETURNING owner_no, topic_id, processed, pass_from, pass_end, extract(epoch FROM at)::double precision
