"""The settings: their sections, where they come from, and what they say of queue and database."""
