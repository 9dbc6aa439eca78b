"""Reads banking domain events from Kafka, maps them through templates to messages, publishes these exactly once."""
