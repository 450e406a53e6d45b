"""Fault campaigns: `make chaos WHAT=all` kills stages under load and counts what was lost or doubled."""
