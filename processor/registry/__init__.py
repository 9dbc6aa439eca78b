"""Schemas: those in the folder, and a schema registry's by id and by subject."""
