"""The finance department: a Postgres schema, its rows from a seed, and live edits."""
