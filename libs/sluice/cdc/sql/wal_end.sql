-- The LSN up to which a slot can be read: the log is flushed, or on a standby replayed. `in_recovery`: the server is a
-- standby.
SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint AS wal_end,
       pg_catalog.pg_is_in_recovery() AS in_recovery
