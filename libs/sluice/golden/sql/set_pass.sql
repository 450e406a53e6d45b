-- The pass in progress over a partition; null without one.
UPDATE {owner} SET pass_from = %(first)s, pass_end = %(end)s WHERE topic = %(topic)s AND partition = %(partition)s
