"""Apache Kafka as a local process, for development, demo and tests."""
