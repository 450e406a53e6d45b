-- The sink's schema.
CREATE SCHEMA IF NOT EXISTS {schema}
