-- A table's columns with their types, in table order.
SELECT a.attname::text, a.atttypid::bigint, a.atttypmod
  FROM pg_catalog.pg_attribute AS a
 WHERE a.attrelid = %(oid)s::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
