-- Deletes the entity ids that a pass read, after the end of the pass.
DELETE FROM {seen} WHERE entity = {entity} AND partition = %(partition)s
