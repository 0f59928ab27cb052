"""What the service reports: events, logs, metrics, health."""
