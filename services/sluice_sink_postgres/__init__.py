"""sink-postgres: canonical records in, rows of Postgres tables out."""
