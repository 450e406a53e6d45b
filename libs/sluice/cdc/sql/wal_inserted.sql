-- Every change that is visible now is below this LSN, flushed or not (synchronous_commit = off).
SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal_inserted
