"""The long forms of the loads that ingress-cdc must endure: `make endurance`."""
