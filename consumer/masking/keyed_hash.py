"""HMAC-SHA256 (RFC 2104): equal values stay visible, and nobody can recover them."""

import hmac

from consumer.errors import TokenError
from consumer.masking import base64url
from consumer.masking.keyring import KeyRing


class KeyedHash:
    """One column's values under one key."""

    __slots__ = ("_key",)

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._key = key_ring.derive(kid, column, "hmac", 32)

    def seal(self, data: bytes) -> str:
        """The 32 bytes of the HMAC, as base64url."""
        return base64url.encode(hmac.digest(self._key, data, "sha256"))

    def open(self, text: str) -> bytes:
        """Nothing: raises TokenError."""
        del text
        raise TokenError("this column is masked with hmac, which is irreversible by design")
