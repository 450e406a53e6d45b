-- The LSN up to which the log is flushed. Fails on a standby, which cannot be followed here.
SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS wal_end
