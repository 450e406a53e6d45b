-- Everything that one of the sink's own tables says of an entity.
DELETE FROM {own} WHERE entity = %(entity)s
