"""Kafka Connect with Debezium's connectors: the Java peers of the benchmarks."""
