-- Returns a row if the sink wrote anything of a topic.
SELECT FROM {owner} WHERE processed > 0 AND topic = %(topic)s LIMIT 1
