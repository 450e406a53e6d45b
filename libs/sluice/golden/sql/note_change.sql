-- Notes a change of a table that the table's watch trigger does not see. The same change is noted once.
INSERT INTO {writes} (entity, db_user, kind)
SELECT {entity}, '', %(kind)s
WHERE NOT EXISTS (SELECT FROM {writes} WHERE entity = {entity} AND db_user = '' AND kind = %(kind)s)
