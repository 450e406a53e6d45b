-- The facts about each of the named tables that exists. The statement reads only catalog tables, all in one snapshot.
-- It does not use a view such as pg_publication_tables: the function behind it reads the catalogs at a later moment, and
-- the result could describe a table that never existed. `xmin` of a catalog row changes whenever the row is written. It
-- therefore also shows a change that was undone.
WITH RECURSIVE publication AS (
    SELECT p.oid, p.puballtables, p.pubviaroot, COALESCE(to_jsonb(p) ->> 'pubgencols', 'n') = 's' AS generated
      FROM pg_catalog.pg_publication AS p
     WHERE p.pubname = %(publication)s
), named AS (
    SELECT c.oid, n.nspname, c.relname
      FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS a(schema, name)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = a.schema
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = a.name
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), tree (root, oid, attached) AS (
    -- The tables and all their partitions. `attached`: the newest transaction that attached the partition or one of its
    -- ancestors.
    SELECT a.oid, a.oid, NULL::xid FROM named AS a
     UNION ALL
    SELECT t.root, i.inhrelid, CASE WHEN age(t.attached) < age(i.xmin) THEN t.attached ELSE i.xmin END
      FROM tree AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.oid AND c.relkind = 'p'
      JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid AND NOT i.inhdetachpending
), component (root, oid) AS (
    -- `root`: a user-defined type of a column. `oid`: this type, and each user-defined type that it contains.
    SELECT DISTINCT a.atttypid, a.atttypid
      FROM named AS t
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND a.atttypid >= 16384
     UNION
    SELECT m.root, part.oid
      FROM component AS m
      JOIN pg_catalog.pg_type AS y ON y.oid = m.oid
     CROSS JOIN LATERAL (
           SELECT y.typelem
            UNION ALL
           SELECT y.typbasetype
            UNION ALL
           SELECT s.rngsubtype FROM pg_catalog.pg_range AS s WHERE y.oid IN (s.rngtypid, s.rngmultitypid)
            UNION ALL
           SELECT a.atttypid FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = y.typrelid AND a.attnum > 0
           ) AS part(oid)
     WHERE part.oid >= 16384
), spelling AS (
    -- The catalog rows that decide how the values of a type are spelled. A dropped attribute keeps a row, with type 0.
    SELECT m.root, array_agg(part.word ORDER BY part.word) AS words
      FROM component AS m
     CROSS JOIN LATERAL (
           SELECT 'label ' || e.oid || ' ' || e.xmin FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = m.oid
            UNION ALL
           SELECT 'attribute ' || m.oid || ' ' || a.attnum || ' ' || a.atttypid
             FROM pg_catalog.pg_type AS y
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = y.typrelid AND a.attnum > 0
            WHERE y.oid = m.oid
           ) AS part(word)
     GROUP BY m.root
), relations AS (
    -- `identity_columns`: the columns of the old row that an update or delete of the relation contains.
    SELECT t.root, t.oid, t.attached, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relfilenode,
           c.reltoastrelid, c.relnamespace, c.xmin AS version,
           ARRAY(SELECT a.attname::text
                   FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND (c.relreplident = 'f' OR EXISTS (
                         SELECT 1 FROM pg_catalog.pg_index AS i
                          WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                            AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
                            AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))
                  ORDER BY a.attnum) AS identity_columns
      FROM tree AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT r.nspname::text AS schema,
       r.relname::text AS table,
       r.oid::bigint AS oid,
       r.relkind::text AS kind,
       r.relpersistence::text AS persistence,
       r.relreplident::text AS identity,
       r.relfilenode::bigint AS filenode,
       r.reltoastrelid::bigint AS toast,
       r.identity_columns,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_index AS i
              CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.attnum
              WHERE i.indrelid = r.oid AND i.indisprimary AND k.place <= i.indnkeyatts
              ORDER BY k.place) AS primary_key,
       COALESCE((SELECT i.indimmediate FROM pg_catalog.pg_index AS i WHERE i.indrelid = r.oid AND i.indisprimary),
                false) AS key_immediate,
       (SELECT jsonb_agg(jsonb_build_array(
                   a.attnum, a.attname, a.atttypid::bigint, a.atttypmod, a.xmin::text::bigint,
                   a.atthasdef OR a.atthasmissing OR a.attidentity <> '' OR y.typdefault IS NOT NULL,
                   a.attgenerated <> '', COALESCE(s.words, '{}'),
                   NOT (a.attnotnull OR (y.typtype = 'd' AND y.typnotnull)),
                   CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END)
                   ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
          LEFT JOIN spelling AS s ON s.root = a.atttypid
          LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT jsonb_agg(jsonb_build_array(
                   l.oid::bigint, l.nspname, l.relname, l.relkind, l.relpersistence, l.relreplident,
                   l.relfilenode::bigint, l.version::text::bigint, l.attached::text::bigint, l.identity_columns)
                   ORDER BY l.oid)
          FROM relations AS l
         WHERE l.root = r.oid AND l.oid <> r.oid AND l.relkind <> 'p') AS leaves,
       ARRAY(SELECT 'table ' || m.oid FROM pg_catalog.pg_publication_rel AS m
              WHERE m.prpubid = p.oid AND m.prrelid = r.oid
              UNION ALL
             SELECT 'schema ' || m.oid FROM pg_catalog.pg_publication_namespace AS m
              WHERE m.pnpubid = p.oid AND m.pnnspid = r.relnamespace
              UNION ALL
             SELECT 'all ' || p.oid WHERE p.puballtables) AS membership,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_attribute AS a
               LEFT JOIN pg_catalog.pg_publication_rel AS m ON m.prpubid = p.oid AND m.prrelid = r.oid
              WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND CASE WHEN m.prattrs IS NOT NULL THEN a.attnum = ANY (m.prattrs::int2[])
                         ELSE a.attgenerated = '' OR (a.attgenerated = 's' AND p.generated) END
              ORDER BY a.attnum) AS published,
       (SELECT pg_catalog.pg_get_expr(m.prqual, m.prrelid)
          FROM pg_catalog.pg_publication_rel AS m WHERE m.prpubid = p.oid AND m.prrelid = r.oid) AS row_filter,
       ARRAY(SELECT DISTINCT a.attname::text
               FROM pg_catalog.pg_publication_rel AS m
              CROSS JOIN LATERAL regexp_matches(m.prqual::text, ':varattno (\d+)', 'g') AS used(attnum)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = used.attnum[1]::int2
              WHERE m.prpubid = p.oid AND m.prrelid = r.oid) AS filter_columns,
       -- The name of an ancestor that is published too: changes of the table are sent under this name.
       (WITH RECURSIVE above (oid) AS (
            SELECT i.inhparent FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = r.oid
             UNION ALL
            SELECT i.inhparent FROM above AS b JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = b.oid
        )
        SELECT n.nspname || '.' || c.relname
          FROM above AS b
          JOIN pg_catalog.pg_class AS c ON c.oid = b.oid AND c.relkind = 'p'
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE p.pubviaroot
           AND (p.puballtables
                OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS m
                            WHERE m.prpubid = p.oid AND m.prrelid = c.oid)
                OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace AS m
                            WHERE m.pnpubid = p.oid AND m.pnnspid = c.relnamespace))
         LIMIT 1) AS sent_as,
       pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint AS xid,
       pg_catalog.current_setting('server_version_num')::int AS server_version
  FROM relations AS r
  LEFT JOIN publication AS p ON true
 WHERE r.oid = r.root
