"""What the two ingress stages share: publishing behind a fence, connectors, deletes that wait for an operator."""
