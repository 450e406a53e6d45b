"""Mapper: raw records in, contributions out."""
