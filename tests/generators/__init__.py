"""Foreign generators of code accept `schemas/` as it is: those of Java and Go."""
