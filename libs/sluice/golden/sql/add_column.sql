-- A column of a golden table that a new field needs.
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}
