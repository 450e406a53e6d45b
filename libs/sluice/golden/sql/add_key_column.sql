-- Adds the column of the entity's id, after others dropped the column.
ALTER TABLE {table} ADD COLUMN {key} text
