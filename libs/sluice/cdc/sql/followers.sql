-- The number of connections to this database with this application name, except the connection that asks.
SELECT count(*) AS connections
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.application_name = %(application)s
   AND a.datname = current_database()
   AND a.pid <> pg_catalog.pg_backend_pid()
