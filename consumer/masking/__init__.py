"""Masking: from a value and a key ring to a token, and back for the holder of the key.

A token is `<kid>.<text>`: the name of the key, and what the mode made of the value. The same value
in the same column under the same key is the same token, wherever and whenever it is made.
"""
