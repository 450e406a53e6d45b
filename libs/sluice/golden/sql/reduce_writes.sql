-- Keeps only the oldest note of each kind and user, so that repeated writes of an application do not fill the disk.
DELETE FROM {writes} WHERE id NOT IN (SELECT min(id) FROM {writes} GROUP BY entity, kind, db_user)
