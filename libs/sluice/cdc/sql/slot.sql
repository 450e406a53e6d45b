-- The state of one replication slot, with LSNs as integers.
SELECT s.plugin,
       s.database,
       s.active_pid,
       (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS confirmed_flush_lsn,
       (s.restart_lsn - '0/0'::pg_lsn)::bigint         AS restart_lsn,
       s.wal_status
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.slot_name = %(slot)s
