"""Sluice: raw records of many source systems in, golden records out, every field with its provenance."""
