-- The id of the entity, after others dropped it.
ALTER TABLE {table} ADD COLUMN {key} text
