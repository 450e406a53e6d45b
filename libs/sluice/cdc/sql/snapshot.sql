-- The snapshot of this transaction, the log's insert LSN after the snapshot was taken, and the server's time (µs).
SELECT pg_catalog.pg_current_snapshot()::text AS snapshot,
       (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal_lsn,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at_us
