"""Follows a Postgres database: connections, replication stream, slots, catalogs, watermarks, change events."""
