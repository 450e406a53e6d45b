-- Writes to golden tables by others than the sink, the oldest first.
SELECT entity, kind, db_user, to_char(min(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), count(*)
FROM {writes} GROUP BY entity, kind, db_user ORDER BY min(id)
