"""A PostgreSQL and an SQS that need no installation, for the demo, development and tests."""
