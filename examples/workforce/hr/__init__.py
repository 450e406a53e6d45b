"""The HR system: an HTTP API over a small store, with live edits and faults on request."""
