-- Notes a golden table as the sink left it. made: the oid of the golden table. beside: the oid of the table of notes.
INSERT INTO {notes} AS m (entity, made, beside, watch, columns)
VALUES ({entity}, %(made)s, %(beside)s, %(watch)s, %(columns)s)
ON CONFLICT (entity) DO UPDATE
SET made = excluded.made, beside = excluded.beside, watch = excluded.watch, columns = excluded.columns
WHERE (m.made, m.beside, m.watch, m.columns)
    IS DISTINCT FROM (excluded.made, excluded.beside, excluded.watch, excluded.columns)
