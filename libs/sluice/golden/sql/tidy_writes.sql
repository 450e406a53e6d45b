-- Of each kind and user the oldest stays: an application that writes again and again fills no disk.
DELETE FROM {writes} WHERE id NOT IN (SELECT min(id) FROM {writes} GROUP BY entity, kind, db_user)
