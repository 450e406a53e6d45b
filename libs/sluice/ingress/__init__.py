"""Code of both ingress stages: publishing behind a fence, connectors, back-pressure, deletes that an operator
accepts."""
