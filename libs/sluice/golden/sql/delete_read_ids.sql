-- The ids that a pass read, after its end.
DELETE FROM {seen} WHERE entity = {entity} AND partition = %(partition)s
