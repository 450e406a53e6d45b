"""Code that tests and demonstrations share."""
