"""From tokens to values, and from values to tokens."""
