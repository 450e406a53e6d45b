"""The loop of the stages that read Kafka: poll, process, deliver, commit; errors, dead letters, partition starts."""
