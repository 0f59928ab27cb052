"""Events: models, their tables, and what becomes of a message."""
