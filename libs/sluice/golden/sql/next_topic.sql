-- Writes the next epoch of a topic: higher than every epoch of the topic and of every row in its table.
INSERT INTO {topics} (topic, epoch, topic_id)
SELECT
    %(topic)s,
    greatest(
        (SELECT coalesce(max(epoch), 0) FROM {topics} WHERE topic = %(topic)s),
        (SELECT coalesce(max(_topic_epoch), 0) FROM {table})
    ) + 1,
    %(topic_id)s
RETURNING epoch
