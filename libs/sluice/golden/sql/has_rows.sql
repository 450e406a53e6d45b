-- A row where a table has one.
SELECT FROM {table} LIMIT 1
