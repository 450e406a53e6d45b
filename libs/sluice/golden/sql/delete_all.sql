-- Rows of which nothing tells the entity.
DELETE FROM {table}
