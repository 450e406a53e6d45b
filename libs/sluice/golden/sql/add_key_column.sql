-- The id of the entity, where somebody took it away.
ALTER TABLE {table} ADD COLUMN {key} text
