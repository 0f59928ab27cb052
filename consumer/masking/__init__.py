"""Masking: from a value and a key ring to a token, and back with the key.

A token is `<kid>.<text>`: the name of the key, a dot, and what the mode makes of the value. The
same value in the same column under the same key has the same token on every replica and in every
release.
"""
