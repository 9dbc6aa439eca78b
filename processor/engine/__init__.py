"""The transactional loop and its clients."""
