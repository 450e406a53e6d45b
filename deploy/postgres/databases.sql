-- Run once, when the server's data directory is new: a database for the registry, one for the finance department of
-- the workforce example, one for the golden records.
CREATE DATABASE sluice_registry;
CREATE DATABASE finance;
CREATE DATABASE warehouse;
