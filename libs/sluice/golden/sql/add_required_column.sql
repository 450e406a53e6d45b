-- Adds a column that every row needs. Existing rows get `default` until the sink rewrites them.
ALTER TABLE {table} ADD COLUMN {column} DEFAULT {default};
ALTER TABLE {table} ALTER COLUMN {column_name} DROP DEFAULT;
