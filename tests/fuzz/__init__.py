"""Mutated and extreme events over shipped and generated templates, in processes of limited memory."""
