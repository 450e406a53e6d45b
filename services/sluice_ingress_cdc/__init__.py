"""ingress-cdc: follows Postgres replication slots; publishes change events that a Debezium consumer can read."""
