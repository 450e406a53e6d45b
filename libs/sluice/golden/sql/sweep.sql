-- The end of a pass over a partition. A row belongs to a deleted entity if the pass did not read its record and the row
-- was written before the end of the pass. action: DELETE these rows, then SELECT the number of rows that were kept.
{action} FROM {table} AS t
WHERE t._partition = %(partition)s
  AND (t._topic_epoch, t._offset) < (%(epoch)s, %(pass_end)s)
  AND NOT EXISTS (
      SELECT FROM {seen} AS s
      WHERE s.entity = {entity} AND s.partition = t._partition AND s.entity_id = t.entity_id
  )
