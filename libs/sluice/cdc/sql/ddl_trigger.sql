-- An event trigger that writes a message to the log at the end of each DDL command, in the command's transaction.
-- ingress-cdc then checks the catalogs at once, not after its interval. The trigger never makes a command fail.
CREATE OR REPLACE FUNCTION public.sluice_ddl_message() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'sluice.ddl', TG_TAG);
EXCEPTION WHEN OTHERS THEN
    NULL;
END
$$;
DROP EVENT TRIGGER IF EXISTS sluice_ddl;
CREATE EVENT TRIGGER sluice_ddl ON ddl_command_end EXECUTE FUNCTION public.sluice_ddl_message()
