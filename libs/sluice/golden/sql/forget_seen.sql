-- The ids that a pass has met, once it has ended.
DELETE FROM {seen} WHERE entity = {entity} AND partition = %(partition)s
