-- What a publication holds: columns and row filter per table. No row at all: there is no such publication, or it is empty.
SELECT t.schemaname::text, t.tablename::text, t.attnames::text[], t.rowfilter
  FROM pg_catalog.pg_publication_tables AS t
 WHERE t.pubname = %(publication)s
