"""The ciphers of the masking modes: bytes to the text of a token, and back.

`siv` is AES-SIV (RFC 5297), `hmac` is HMAC-SHA256 (RFC 2104), `ipcrypt-pfx` encrypts addresses and
preserves their prefixes (draft-denis-ipcrypt). The class of a mode is one column under one key.
"""

import hmac
from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from consumer.errors import TokenError
from consumer.masking.encodings import ADDRESS, ADDRESS_BYTES, V4_MAPPED
from consumer.masking.key_ring import KeyRing, label
from consumer.messages import ValueRefusedError

# Two AES-256 keys: one for the synthetic IV, one for the encryption.
SIV_KEY_BYTES = 64
# The synthetic IV, which precedes the ciphertext.
SIV_TAG_BYTES = 16
_FORMAT = "1"
_HMAC_KEY_BYTES = 32
# Two AES-128 keys.
PREFIX_KEY_BYTES = 32
_BLOCK_BYTES = 16
_ADDRESS_BITS = 8 * ADDRESS_BYTES
_V4_PREFIX_BITS = 8 * len(V4_MAPPED)

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class Siv:
    """AES-SIV: equal values have equal tokens, and a token authenticates.

    The associated data binds the format, the column and the kid: a token that was moved to
    another column or relabelled does not authenticate.
    """

    __slots__ = ("_aead", "_associated")

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._aead = AESSIV(key_ring.derive(kid, column, "siv", SIV_KEY_BYTES))
        self._associated = [label("token", _FORMAT, column, kid)]

    def seal(self, data: bytes) -> str:
        """The synthetic IV and the ciphertext, as base64url."""
        return base64url_encode(self._aead.encrypt(data, self._associated))

    def open(self, text: str) -> bytes:
        """What was sealed; raises TokenError."""
        sealed = base64url_decode(text)
        if sealed is None or len(sealed) <= SIV_TAG_BYTES:
            raise TokenError("the token is malformed: it was cut or mistyped")
        try:
            return self._aead.decrypt(sealed, self._associated)
        except InvalidTag:
            pass
        raise TokenError(
            "the token does not authenticate: it was changed, relabelled, made for another"
            " column, or made with another key of this name"
        )


class KeyedHash:
    """HMAC-SHA256: equal values have equal tokens, and no token can be opened."""

    __slots__ = ("_key",)

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._key = key_ring.derive(kid, column, "hmac", _HMAC_KEY_BYTES)

    def seal(self, data: bytes) -> str:
        """The 32 bytes of the HMAC, as base64url."""
        return base64url_encode(hmac.digest(self._key, data, "sha256"))

    def open(self, text: str) -> bytes:
        """Raises TokenError."""
        del text
        raise TokenError("this column is masked with hmac, which is irreversible by design")


class IpcryptPfx:
    """ipcrypt-pfx: addresses with a common prefix have tokens with one, itself addresses."""

    __slots__ = ("_cipher",)

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._cipher = PrefixCipher(key_ring.derive(kid, column, "ipcrypt-pfx", PREFIX_KEY_BYTES))

    def seal(self, data: bytes) -> str:
        """The encrypted address, of the same family as the plain one."""
        return ADDRESS.decode(self._cipher.encrypt(data))

    def open(self, text: str) -> bytes:
        """The plain address; raises TokenError for what is not an address as `seal` writes it."""
        try:
            packed = ADDRESS.encode(text)
        except ValueRefusedError:
            packed = b""
        if not packed or ADDRESS.decode(packed) != text:
            raise TokenError("the token is malformed: there is no IP address after the kid")
        return self._cipher.decrypt(packed)


class PrefixCipher:
    """Encrypts and decrypts addresses of 16 bytes; an IPv4-mapped one stays IPv4-mapped.

    `key` has 32 bytes: two different AES-128 keys. The sum of their permutations is a
    pseudo-random function of the prefix.
    """

    __slots__ = ("_first", "_second")

    def __init__(self, key: bytes) -> None:
        if len(key) != PREFIX_KEY_BYTES or key[:_BLOCK_BYTES] == key[_BLOCK_BYTES:]:
            raise ValueError("ipcrypt-pfx takes two different keys of 16 bytes")
        self._first = _block_cipher(key[:_BLOCK_BYTES])
        self._second = _block_cipher(key[_BLOCK_BYTES:])

    def encrypt(self, address: bytes) -> bytes:
        """16 bytes to 16 bytes."""
        plain = int.from_bytes(address, "big")
        start = _fixed_bits(address)
        stream = self._keystream([_block(plain, bits) for bits in range(start, _ADDRESS_BITS)])
        return (plain ^ stream).to_bytes(ADDRESS_BYTES, "big")

    def decrypt(self, address: bytes) -> bytes:
        """The inverse, one block at a time: each bit needs the plain bits before it."""
        plain = int.from_bytes(address, "big")
        for bits in range(_fixed_bits(address), _ADDRESS_BITS):
            plain ^= self._keystream([_block(plain, bits)]) << (_ADDRESS_BITS - 1 - bits)
        return plain.to_bytes(ADDRESS_BYTES, "big")

    def _keystream(self, blocks: list[bytes]) -> int:
        """The last bit of the pseudo-random function of each block; the last block's is lowest."""
        joined = b"".join(blocks)
        first = self._first.update(joined)[_BLOCK_BYTES - 1 :: _BLOCK_BYTES]
        second = self._second.update(joined)[_BLOCK_BYTES - 1 :: _BLOCK_BYTES]
        stream = 0
        for one, other in zip(first, second, strict=True):
            stream = stream << 1 | (one ^ other) & 1
        return stream


def _block(address: int, bits: int) -> bytes:
    """A one and the first `bits` bits of the address, so that each prefix has its own block."""
    return (1 << bits | address >> (_ADDRESS_BITS - bits)).to_bytes(_BLOCK_BYTES, "big")


def _fixed_bits(address: bytes) -> int:
    """How many leading bits stay as they are."""
    return _V4_PREFIX_BITS if address.startswith(V4_MAPPED) else 0


def _block_cipher(key: bytes) -> CipherContext:
    mode = ECB()  # noqa: S305 -- the bare block cipher is what the draft builds on
    return Cipher(AES(key), mode).encryptor()


def base64url_encode(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def base64url_decode(text: str) -> bytes | None:
    """Text to bytes; None for a text that `base64url_encode` never made."""
    try:
        padded = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        data = a2b_base64(padded, strict_mode=True)
    except ValueError:
        return None
    # The last character may hold spare bits, so that several texts decode to the same bytes.
    return data if base64url_encode(data) == text else None
