-- A column that every row needs: rows that stand hold `default` there until they are rewritten.
ALTER TABLE {table} ADD COLUMN {column} DEFAULT {default};
ALTER TABLE {table} ALTER COLUMN {column_name} DROP DEFAULT;
