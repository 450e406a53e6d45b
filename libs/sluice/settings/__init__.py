"""Settings of a process, from the environment (`SLUICE_*`): read once, validated, frozen."""
