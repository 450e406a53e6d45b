-- The Postgres container runs this once, when its data directory is new. The databases are for the schema registry, for
-- the finance source of the workforce example, and for the golden records.
CREATE DATABASE sluice_registry;
CREATE DATABASE finance;
CREATE DATABASE warehouse;
