-- Deletes the owner rows of partitions that the topic does not have.
DELETE FROM {owner} WHERE partition NOT BETWEEN 0 AND %(last)s AND topic = %(topic)s
