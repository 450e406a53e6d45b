"""Raw records: how ingress stages write what a source said, and how it is read again."""
