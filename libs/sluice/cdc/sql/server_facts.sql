-- The settings of the server, the rights of this user, and the slot and the publication of a source, for
-- `sluice cdc check`. A setting or a column that an older server does not have is null.
SELECT current_user::text AS role,
       current_database()::text AS database,
       pg_catalog.current_setting('server_version_num')::int AS server_version,
       pg_catalog.current_setting('server_encoding') AS encoding,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('wal_level') AS wal_level,
       pg_catalog.current_setting('max_replication_slots')::int AS slots_max,
       (SELECT count(*)::int FROM pg_catalog.pg_replication_slots) AS slots_used,
       pg_catalog.current_setting('max_wal_senders')::int AS senders_max,
       (SELECT count(*)::int FROM pg_catalog.pg_stat_replication) AS senders_used,
       pg_catalog.current_setting('max_slot_wal_keep_size') AS slot_wal_keep_size,
       pg_catalog.current_setting('idle_replication_slot_timeout', true) AS idle_slot_timeout,
       r.rolsuper OR r.rolreplication AS may_replicate,
       pg_catalog.has_database_privilege(current_database(), 'CREATE') AS may_create_publication,
       -- A function with the same name and another signature was added in 17.
       COALESCE((SELECT bool_or(pg_catalog.has_function_privilege(f.oid, 'EXECUTE'))
                   FROM pg_catalog.pg_proc AS f
                  WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.proname = 'pg_logical_emit_message'
                    AND f.proargtypes[2] = 'text'::regtype), false) AS may_emit,
       (SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE')
          FROM pg_catalog.pg_publication AS p WHERE p.pubname = %(publication)s) AS owns_publication,
       s.plugin::text AS slot_plugin,
       s.database::text AS slot_database,
       s.active_pid IS NOT NULL AS slot_active,
       s.wal_status AS slot_wal_status,
       COALESCE((to_jsonb(s) ->> 'synced')::bool, false) AS slot_synced,
       to_jsonb(s) ->> 'invalidation_reason' AS slot_invalidation
  FROM pg_catalog.pg_roles AS r
  LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.slot_name = %(slot)s
 WHERE r.rolname = current_user
