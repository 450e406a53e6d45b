"""Code that both ingress stages use: the fenced producer, connectors, back-pressure, and deletes that an operator
accepts."""
