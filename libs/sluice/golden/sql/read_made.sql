-- The golden tables as they were noted.
SELECT entity, made, beside, watch, columns FROM {made}
