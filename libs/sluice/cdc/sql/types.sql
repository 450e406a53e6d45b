-- Every domain with its base type, every array with its element type, and every other type that is not built in. The
-- row types of tables are left out: there are as many as tables.
-- An array type is recognised by its input function array_in: the text of its values has braces. The category is not
-- enough: int2vector and oidvector have the category of arrays, but no braces in their text.
SELECT t.oid::bigint,
       CASE WHEN t.typinput = 'pg_catalog.array_in'::regproc AND e.typdelim = ',' THEN t.typelem::bigint ELSE 0 END
           AS element,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype::bigint ELSE 0 END AS base,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE -1 END AS base_typmod,
       t.typname::text AS name,
       t.typtype = 'e' AS is_enum,
       ARRAY(SELECT l.enumlabel::text FROM pg_catalog.pg_enum AS l WHERE l.enumtypid = t.oid ORDER BY l.enumsortorder)
           AS labels
  FROM pg_catalog.pg_type AS t
  LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem
 WHERE t.typtype = 'd' OR t.typcategory = 'A' OR (t.oid >= 16384 AND t.typtype NOT IN ('c', 'p'))
