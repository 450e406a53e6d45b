-- A column that every row needs: existing rows get `default` until they are rewritten.
ALTER TABLE {table} ADD COLUMN {column} DEFAULT {default};
ALTER TABLE {table} ALTER COLUMN {column_name} DROP DEFAULT;
