-- Deletes all rows: without a key in the table, the entity of a row is unknown.
DELETE FROM {table}
