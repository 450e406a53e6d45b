"""Raw records: how ingress writes a source's records, and how later stages read them."""
