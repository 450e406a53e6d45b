-- Stores the pass that is in progress over a partition; nulls mean no pass.
UPDATE {owner} SET pass_from = %(first)s, pass_end = %(end)s WHERE topic = %(topic)s AND partition = %(partition)s
