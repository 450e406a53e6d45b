-- The pass over a partition that is on its way; null where there is none.
UPDATE {owner} SET pass_from = %(first)s, pass_end = %(end)s WHERE topic = %(topic)s AND partition = %(partition)s
