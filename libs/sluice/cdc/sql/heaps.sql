-- The current file and size of tables or partitions, and whether this user may read each of them by itself. The file is
-- that of the newest commit, whatever snapshot this transaction has.
SELECT c.oid::bigint AS oid,
       COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint AS filenode,
       pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS blocks,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
  FROM unnest(%(oids)s::bigint[]) WITH ORDINALITY AS wanted(oid, place)
  JOIN pg_catalog.pg_class AS c ON c.oid = wanted.oid::oid
 ORDER BY wanted.place
