"""Bytes to values and back: framing, Avro, JSON, encoders, dead letters. Pure."""
