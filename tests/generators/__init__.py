"""Foreign generators of code take `schemas/` as it is: those of Java and Go."""
