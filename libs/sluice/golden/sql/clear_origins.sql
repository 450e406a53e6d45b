-- Rows without an origin or with an impossible epoch become the oldest rows; otherwise no pass would replace them.
UPDATE {table} SET _topic_epoch = 0, _offset = -1, _partition = coalesce(_partition, 0)
WHERE _topic_epoch IS NULL OR _offset IS NULL OR _partition IS NULL OR _topic_epoch > 1000000000
