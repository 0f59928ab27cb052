"""Feeds of 100 logins: 99 are good, one is of another type."""

from pathlib import Path

OURS = Path(__file__).parent / "data" / "login-events.jsonl"
# The original feed, which is not ours to carry, where it lies beside the project.
_ORIGINAL = Path(__file__).parents[2] / "shared" / "data" / "login-events.jsonl"
FEEDS = [path for path in (OURS, _ORIGINAL) if path.exists()]
