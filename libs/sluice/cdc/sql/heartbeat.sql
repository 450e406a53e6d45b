-- A transaction of our own moves the slot while its tables are idle. Only a transactional message ends in a commit.
SELECT pg_catalog.pg_logical_emit_message(true, 'sluice.heartbeat', '')
