-- The insert LSN of the server's log. Every change that is visible now is below this LSN, even if it is not flushed yet
-- (synchronous_commit = off). On a standby every visible change is replayed.
SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint AS wal_inserted
