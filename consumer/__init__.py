"""Takes login events off Amazon SQS, masks them and writes each to PostgreSQL exactly once."""

__version__ = "0.1.0"
