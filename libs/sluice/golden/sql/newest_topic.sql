-- The topic that a table is filled from now: its newest epoch and its id.
SELECT epoch, topic_id FROM {topics} WHERE topic = %(topic)s ORDER BY epoch DESC LIMIT 1
