-- A row where anything of a topic was written.
SELECT FROM {owner} WHERE processed > 0 AND topic = %(topic)s LIMIT 1
