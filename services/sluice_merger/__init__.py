"""merger: all contributions to one entity in, one canonical record out."""
