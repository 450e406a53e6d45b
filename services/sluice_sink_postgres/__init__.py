"""The sink: canonical entities in, rows of Postgres tables out, each at its newest version."""
