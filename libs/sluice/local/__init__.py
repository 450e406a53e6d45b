"""Runs a whole pipeline on one machine, from one terminal. `sluice up`, `sluice demo` and the scenario tests use it."""
