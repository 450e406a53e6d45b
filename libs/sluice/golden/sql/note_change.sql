-- A change of a table without a statement that its watch notes; once.
INSERT INTO {writes} (entity, db_user, kind)
SELECT {entity}, '', %(kind)s
WHERE NOT EXISTS (SELECT FROM {writes} WHERE entity = {entity} AND db_user = '' AND kind = %(kind)s)
