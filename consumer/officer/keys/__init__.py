"""Making, checking and changing the key ring."""
