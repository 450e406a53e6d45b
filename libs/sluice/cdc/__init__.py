"""Following a Postgres database: its replication stream, its slots, and the change events made of it."""
