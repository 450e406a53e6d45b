-- Writes epoch 1 of a topic whose table is empty. Does nothing if another sink process wrote it first.
INSERT INTO {topics} (topic, epoch, topic_id) VALUES (%(topic)s, 1, %(topic_id)s) ON CONFLICT DO NOTHING
