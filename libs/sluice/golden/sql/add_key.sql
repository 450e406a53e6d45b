-- Adds the unique key that every write needs, after others dropped it.
ALTER TABLE {table} ADD UNIQUE ({key})
