"""AES-SIV (RFC 5297): deterministic, authenticated, recoverable."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from consumer.errors import TokenError
from consumer.masking import base64url
from consumer.masking.keyring import KeyRing, label

# Two AES-256 keys: one for the synthetic IV, one for the encryption.
_SIV_KEY_BYTES = 64
_TAG_BYTES = 16
_FORMAT = "1"


class Siv:
    """One column's values under one key.

    The associated data binds the format, the column and the kid: a token that was moved to
    another column or relabelled does not authenticate.
    """

    __slots__ = ("_aead", "_associated")

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._aead = AESSIV(key_ring.derive(kid, column, "siv", _SIV_KEY_BYTES))
        self._associated = [label("token", _FORMAT, column, kid)]

    def seal(self, data: bytes) -> str:
        """The synthetic IV and the ciphertext, as base64url."""
        return base64url.encode(self._aead.encrypt(data, self._associated))

    def open(self, text: str) -> bytes:
        """What was sealed; raises TokenError."""
        sealed = base64url.decode(text)
        if sealed is None or len(sealed) <= _TAG_BYTES:
            raise TokenError("the token is malformed: it was cut or mistyped")
        try:
            return self._aead.decrypt(sealed, self._associated)
        except InvalidTag:
            pass
        raise TokenError(
            "the token does not authenticate: it was changed, relabelled, made for another"
            " column, or made with another key of this name"
        )
