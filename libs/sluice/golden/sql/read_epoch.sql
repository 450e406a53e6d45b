-- The epoch under which rows from a topic are written now; null before the first.
SELECT max(epoch) FROM {topics} WHERE topic = %(topic)s
