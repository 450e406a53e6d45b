"""The command line `sluice`. This package has one module for each command or group of commands."""
