"""The audit of what officers do."""
