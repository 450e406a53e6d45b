-- The tables in a schema: name, oid, when the watch fires (A: always; empty: no watch), whether the key is unique, and
-- the tables that it is a parent or a child of by inheritance.
SELECT c.relname, c.oid::bigint, coalesce(w.tgenabled::text, ''),
       EXISTS (
           SELECT FROM pg_catalog.pg_index AS i
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
             AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'entity_id'
       ),
       ARRAY(
           SELECT kn.nspname || '.' || k.relname
           FROM pg_catalog.pg_inherits AS i
           JOIN pg_catalog.pg_class AS k ON k.oid = CASE c.oid WHEN i.inhrelid THEN i.inhparent ELSE i.inhrelid END
           JOIN pg_catalog.pg_namespace AS kn ON kn.oid = k.relnamespace
           WHERE c.relkind = 'r' AND c.oid IN (i.inhrelid, i.inhparent)
           ORDER BY 1
       )
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_trigger AS w ON w.tgrelid = c.oid AND w.tgname = 'sluice_watch' AND NOT w.tgisinternal
WHERE n.nspname = %s AND c.relkind IN ('r', 'p')
