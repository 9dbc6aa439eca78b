"""What the processor speaks of: records, events, messages, statuses, reasons, ids. Pure values."""
