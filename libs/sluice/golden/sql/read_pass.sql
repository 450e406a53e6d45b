-- The end of the pass that is in progress over a partition; null without a pass.
SELECT pass_end FROM {owner} WHERE topic = %(topic)s AND partition = %(partition)s
