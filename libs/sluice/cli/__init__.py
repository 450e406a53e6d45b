"""The command line, `sluice`: a module for each group of commands."""
