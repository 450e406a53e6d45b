-- A transaction of our own, so that the slot moves while its tables are idle. Transactional: only that ends in a commit.
SELECT pg_catalog.pg_logical_emit_message(true, 'sluice.heartbeat', '')
