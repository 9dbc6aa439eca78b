"""The reference tables: read from compacted topics into a local store."""
