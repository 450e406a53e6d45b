"""Postgres, as a source that is followed (replication) and as a sink that is written (tables)."""
