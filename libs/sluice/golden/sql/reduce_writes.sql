-- Keeps the oldest of each kind and user: an application that writes again and again fills no disk.
DELETE FROM {writes} WHERE id NOT IN (SELECT min(id) FROM {writes} GROUP BY entity, kind, db_user)
