-- Adds the column of a new field to a golden table.
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}
