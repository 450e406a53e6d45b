"""Golden tables in Postgres: made, written, read back, and watched."""
