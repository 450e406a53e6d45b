"""The settings of a process, which come from environment variables (`SLUICE_*`): read once, validated and frozen."""
