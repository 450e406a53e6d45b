-- All rows of an entity in one of the sink's own tables.
DELETE FROM {own} WHERE entity = %(entity)s
