"""Kills stages under load and counts which changes were lost or published twice: `make chaos WHAT=all`."""
