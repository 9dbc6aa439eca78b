"""What operators do beside `run`: topics, produce, check, demo."""
