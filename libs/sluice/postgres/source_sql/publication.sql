-- Whether a publication lets every kind of change through.
SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS whole
  FROM pg_catalog.pg_publication AS p
 WHERE p.pubname = %(publication)s
