-- The LSN up to which the server's log is flushed. Fails on a standby: Sluice cannot follow a standby.
SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS wal_end
