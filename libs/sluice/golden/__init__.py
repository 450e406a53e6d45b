"""Golden tables in Postgres: created, written, read back, and watched."""
