-- Writes a message to the log, so that the slot advances while its tables are idle. The message is transactional
-- because only a transactional message ends with a commit. A standby cannot write to its log.
SELECT pg_catalog.pg_logical_emit_message(true, 'sluice.heartbeat', '')
 WHERE NOT pg_catalog.pg_is_in_recovery()
