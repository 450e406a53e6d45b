-- Notes each statement that is not the sink's, also if a foreign trigger or a cascade runs it in the sink's session.
-- Without ALWAYS, the trigger would miss writes with session_replication_role = replica.
DROP TRIGGER IF EXISTS sluice_watch ON {table};
CREATE TRIGGER sluice_watch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT
WHEN (current_setting('sluice.writer', true) IS DISTINCT FROM 'sink' OR pg_trigger_depth() > 0)
EXECUTE FUNCTION {schema}._note_foreign_write({entity});
ALTER TABLE {table} ENABLE ALWAYS TRIGGER sluice_watch
