-- The end of a pass over a partition, from its first offset to an end noted at its start: rows whose record it did
-- not read, and that were written before that end, are of deleted entities. action: DELETE, then a SELECT of what is
-- left.
{action} FROM {table} AS t
WHERE t._partition = %(partition)s
  AND (t._topic_epoch, t._offset) < (%(epoch)s, %(pass_end)s)
  AND NOT EXISTS (
      SELECT FROM {seen} AS s
      WHERE s.entity = {entity} AND s.partition = t._partition AND s.entity_id = t.entity_id
  )
