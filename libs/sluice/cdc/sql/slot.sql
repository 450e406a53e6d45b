-- The state of one replication slot, with LSNs as integers. Columns that some server versions lack are read from the row
-- as JSON: a missing column is null (`conflicting` exists since 16, `invalidation_reason`, `failover` and `synced` since
-- 17).
SELECT s.slot_type,
       s.plugin,
       s.database,
       s.temporary,
       s.active_pid,
       (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS confirmed_flush_lsn,
       (s.restart_lsn - '0/0'::pg_lsn)::bigint         AS restart_lsn,
       s.wal_status,
       s.safe_wal_size,
       to_jsonb(s) ->> 'invalidation_reason'                        AS invalidation_reason,
       COALESCE((to_jsonb(s) ->> 'conflicting')::boolean, false)    AS conflicting,
       COALESCE((to_jsonb(s) ->> 'failover')::boolean, false)       AS failover,
       COALESCE((to_jsonb(s) ->> 'synced')::boolean, false)         AS synced
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.slot_name = %(slot)s
