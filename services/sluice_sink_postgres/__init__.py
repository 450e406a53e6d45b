"""Sink: canonical records in, rows of Postgres tables out."""
