-- The rights of this user on each of the named tables that exists. `unreadable`: the columns that it may not read.
SELECT n.nspname || '.' || c.relname AS name,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usable,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
              ORDER BY a.attnum) AS unreadable,
       pg_catalog.row_security_active(c.oid) AS rows_hidden
  FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS named(schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = named.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = named.name
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
