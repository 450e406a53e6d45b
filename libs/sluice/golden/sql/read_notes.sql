-- The notes of golden tables.
SELECT entity, made, beside, watch, columns FROM {notes}
