-- Epoch 1 of a topic whose table is empty; nothing if another sink was faster.
INSERT INTO {topics} (topic, epoch, topic_id) VALUES (%(topic)s, 1, %(topic_id)s) ON CONFLICT DO NOTHING
