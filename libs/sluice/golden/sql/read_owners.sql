-- The next offset of each partition, for `sluice lag`.
SELECT topic, partition, topic_id, processed, extract(epoch FROM at)::double precision, coalesce(paused_at, 0)
FROM {owner} WHERE processed IS NOT NULL
