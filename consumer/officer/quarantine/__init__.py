"""Quarantined messages: list, show, replay."""
