"""A whole pipeline on one machine, in one terminal: what `sluice up`, `sluice demo` and the scenario tests run."""
