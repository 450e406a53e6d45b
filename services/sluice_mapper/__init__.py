"""mapper: raw records in, contributions out."""
