-- The insert LSN of the server's log. Every change that is visible now is below this LSN, even if it is not flushed yet
-- (synchronous_commit = off).
SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal_inserted
