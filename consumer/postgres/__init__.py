"""PostgreSQL: connections, the statement that writes a batch, the schema."""
