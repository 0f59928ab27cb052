"""The bodies of invalid messages: encrypted whole, under a key that no column has."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from consumer.errors import TokenError
from consumer.masking.ciphers import SIV_KEY_BYTES
from consumer.masking.key_ring import KeyRing, label

_USE = "consumer.quarantine.sealed_body"
_BODY_FORMAT = "1"


class BodySeal:
    """Seals with AES-SIV (RFC 5297), so a redelivered message is sealed to the same bytes.

    The associated data binds the message's ID: a body cannot be moved to another message.
    """

    __slots__ = ("_aeads", "kid")

    def __init__(self, key_ring: KeyRing) -> None:
        self.kid = key_ring.primary
        self._aeads = {
            kid: AESSIV(key_ring.derive(kid, _USE, "siv", SIV_KEY_BYTES)) for kid in key_ring.kids
        }

    def seal(self, message_id: str, body: str) -> bytes:
        """The synthetic IV and the ciphertext, under the key `kid`.

        A body from JSON may hold lone surrogates, which UTF-8 does not allow. They are encoded as
        UTF-8 would encode them, so that every body can be unsealed unchanged.
        """
        return self._seal(message_id, body.encode("utf-8", "surrogatepass"))

    def _seal(self, message_id: str, data: bytes) -> bytes:
        return self._aeads[self.kid].encrypt(data, _associated(message_id, self.kid))

    def unseal(self, kid: str, message_id: str, sealed: bytes) -> str:
        """The body; raises TokenError unless the key, the message and the bytes are the same."""
        return self._unseal(kid, message_id, sealed).decode("utf-8", "surrogatepass")

    def renew(self, kid: str, message_id: str, sealed: bytes) -> bytes:
        """The same body under the primary key; raises what `unseal` raises."""
        return self._seal(message_id, self._unseal(kid, message_id, sealed))

    def _unseal(self, kid: str, message_id: str, sealed: bytes) -> bytes:
        if kid not in self._aeads:
            raise TokenError("the key ring has no key of this name: use the ring that sealed it")
        try:
            data = self._aeads[kid].decrypt(sealed, _associated(message_id, kid))
        except InvalidTag:
            data = None
        if data is None:
            raise TokenError("the sealed body does not authenticate: it was changed or moved")
        return data


def _associated(message_id: str, kid: str) -> list[bytes]:
    return [label("body", _BODY_FORMAT, message_id, kid)]
