-- What the view was made from, so that it is made again only when that changes.
COMMENT ON VIEW {view} IS {digest}
