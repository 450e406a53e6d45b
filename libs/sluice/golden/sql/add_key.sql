-- The key that every write needs, where somebody took it away.
ALTER TABLE {table} ADD UNIQUE ({key})
