-- The hash of the view's definition, so that it is re-created only when that changes.
COMMENT ON VIEW {view} IS {digest}
