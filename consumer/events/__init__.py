"""Events: models, their tables, and how a message becomes a row or goes to quarantine."""
