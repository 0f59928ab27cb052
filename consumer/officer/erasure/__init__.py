"""Erasing a subject."""
