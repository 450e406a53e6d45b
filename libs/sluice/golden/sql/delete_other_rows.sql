-- Deletes the rows of partitions that the topic does not have.
DELETE FROM {table} WHERE _partition NOT BETWEEN 0 AND %(last)s
