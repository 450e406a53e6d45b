-- The current name of the relation with this oid.
SELECT n.nspname || '.' || c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = %(oid)s::oid
