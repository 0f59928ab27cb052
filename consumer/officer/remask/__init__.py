"""Rewriting tokens under the primary key."""
