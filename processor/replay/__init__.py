"""Operations on the past: what became of a record, and what a replay is missing."""
