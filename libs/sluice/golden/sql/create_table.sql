-- A golden table.
CREATE TABLE IF NOT EXISTS {table} ({columns})
