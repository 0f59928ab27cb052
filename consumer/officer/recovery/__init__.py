"""From tokens to original values (`recover`), and from a value to its tokens (`mask`)."""
