-- The ids that a pass met, after its end.
DELETE FROM {seen} WHERE entity = {entity} AND partition = %(partition)s
