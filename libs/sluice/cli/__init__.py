"""The command line, `sluice`: a module for each command or group of commands."""
