-- Assigns a transaction id. The message makes the server flush its log, so that the stream soon passes this moment.
SELECT pg_catalog.pg_current_xact_id()::text::bigint AS xid
  FROM pg_catalog.pg_logical_emit_message(true, 'sluice.barrier', '')
