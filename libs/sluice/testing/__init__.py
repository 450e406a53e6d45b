"""What tests and demonstrations share: the driver contract of examples, conformance suites."""
