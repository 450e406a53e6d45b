-- Rows of unknown entities: the table has no key.
DELETE FROM {table}
