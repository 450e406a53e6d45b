-- A publication: whether it publishes every kind of change, and whether it publishes changes of a partition under the
-- name of the partitioned table.
SELECT p.oid::bigint AS oid,
       p.xmin::text::bigint AS version,
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS publishes_all,
       p.pubviaroot AS via_root
  FROM pg_catalog.pg_publication AS p
 WHERE p.pubname = %(publication)s
