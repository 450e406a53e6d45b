-- Deletes all rows of an entity from one of the sink's own tables.
DELETE FROM {own} WHERE entity = %(entity)s
