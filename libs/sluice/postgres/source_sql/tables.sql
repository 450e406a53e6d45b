-- The tables asked for, those that exist, with primary key in its own order and what an update or delete carries.
SELECT n.nspname  AS schema,
       c.relname  AS table,
       c.oid::bigint AS oid,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relreplident::text AS identity,
       COALESCE(
           (SELECT array_agg(a.attname::text ORDER BY k.place)
              FROM pg_catalog.pg_index AS i
              CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts),
           '{}') AS primary_key,
       COALESCE(
           (SELECT array_agg(a.attname::text)
              FROM pg_catalog.pg_index AS i
              CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisreplident AND k.place <= i.indnkeyatts),
           '{}') AS identity_columns
  FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS asked(schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = asked.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = asked.name
 WHERE c.relkind IN ('r', 'p')
