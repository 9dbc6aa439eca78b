"""The documents: those that are made from the code, and the tests that hold them all."""
