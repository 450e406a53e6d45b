-- How far each partition is written, for whoever looks from outside.
SELECT topic, partition, topic_id, processed, extract(epoch FROM at)::double precision, coalesce(paused_at, 0)
FROM {owner} WHERE processed IS NOT NULL
