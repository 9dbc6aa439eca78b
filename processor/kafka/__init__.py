"""The Kafka clients, what their errors mean, and the topics: planned, and as they are."""
